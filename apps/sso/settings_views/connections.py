"""Connections: made, changed, tested, switched, filled by the provider's metadata."""

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_POST

from apps.accounts import selectors as accounts
from apps.accounts.web import org_page
from apps.core.errors import MindWeaveError, NotFound
from apps.core.web.forms import add_problem, sentence
from apps.identity.web import step_up_required
from apps.sso import saml, selectors, services
from apps.sso.forms import MetadataForm, OidcForm, SamlForm
from apps.sso.models import Connection, ConnectionKind
from apps.sso.roles import roles_to_give
from apps.sso.saml.certificates import certificate_facts
from apps.sso.settings_views.common import CAPABILITY, TITLE, org_of

__all__ = ["connection_act", "connection_metadata", "connection_new", "connection_page"]

_FORMS: dict[str, type[OidcForm] | type[SamlForm]] = {"oidc": OidcForm, "saml": SamlForm}
_SHOWN = 8


@org_page(capability=CAPABILITY, title=TITLE, key="settings", personal=True)
@never_cache
@sensitive_post_parameters("client_secret")
@require_http_methods(["GET", "HEAD", "POST"])
def connection_new(request: HttpRequest, kind: str) -> HttpResponse:
    """``…/settings/sso/new/<kind>``: a new connection. What the provider must be told of us it has once made."""
    org = org_of(request)
    if kind not in _FORMS:
        raise NotFound()
    form = _FORMS[kind](request.POST or None, roles=roles_to_give(org.id), initial={"default_role": "developer"})
    # At first its issuer decides it.
    form.fields.pop("needs_auth_time", None)
    if request.method == "POST" and form.is_valid():
        return _make_connection(request, kind, form)
    return _new(request, kind, form)


@step_up_required
def _make_connection(request: HttpRequest, kind: str, form: OidcForm | SamlForm) -> HttpResponse:
    org, values = org_of(request), dict(form.cleaned_data)
    try:
        made = services.create_connection(org_id=org.id, kind=kind, name=values.pop("name"), values=values)
    except MindWeaveError as error:
        add_problem(form, error)
        return _new(request, kind, form)
    messages.success(request, f"{made.name} is here. Tell the provider about us, then test it.")
    return redirect("sso_connection", org.slug, made.id)


def _new(request: HttpRequest, kind: str, form: OidcForm | SamlForm) -> HttpResponse:
    context = {"tab": "sso", "part": "overview", "form": form, "kind": ConnectionKind(kind)}
    return render(request, "sso/new.html", context, status=400 if form.errors else 200)


@org_page(capability=CAPABILITY, title=TITLE, key="settings", personal=True)
@never_cache
@sensitive_post_parameters("client_secret")
@require_http_methods(["GET", "HEAD", "POST"])
def connection_page(request: HttpRequest, connection_id: UUID) -> HttpResponse:
    """``…/settings/sso/connections/<id>``: its settings, what the provider needs of us, its test, and its switches."""
    org = org_of(request)
    connection = selectors.connection_get(org_id=org.id, connection_id=connection_id)
    kind = _FORMS[connection.kind]
    initial = {name: getattr(connection, name) for name in kind.base_fields if name != "client_secret"}
    if connection.kind == ConnectionKind.SAML:
        initial["idp_certificates"] = "\n\n".join(map(_pem, connection.idp_certificates))
    form = kind(request.POST or None, roles=roles_to_give(org.id), initial=initial)
    if request.method == "POST" and form.is_valid():
        return _change(request, connection, form)
    return _connection(request, connection, form)


def _pem(body: str) -> str:
    lines = [body[start : start + 64] for start in range(0, len(body), 64)]
    return "\n".join(["-----BEGIN CERTIFICATE-----", *lines, "-----END CERTIFICATE-----"])


@step_up_required
def _change(request: HttpRequest, connection: Connection, form: OidcForm | SamlForm) -> HttpResponse:
    org, changes = org_of(request), dict(form.cleaned_data)
    if "needs_auth_time" not in form.changed_data:
        changes.pop("needs_auth_time", None)
    try:
        services.update_connection(org_id=org.id, connection_id=connection.pk, changes=changes)
    except MindWeaveError as error:
        add_problem(form, error)
        return _connection(request, connection, form)
    messages.success(request, "Saved.")
    return redirect("sso_connection", org.slug, connection.pk)


def _connection(
    request: HttpRequest, connection: Connection, form: OidcForm | SamlForm, metadata: MetadataForm | None = None
) -> HttpResponse:
    org = org_of(request)
    affected, spared = selectors.affected_members(org.id), selectors.break_glass_ids(org.id)
    context = {
        "tab": "sso",
        "part": "overview",
        "connection": connection,
        "kind": ConnectionKind(connection.kind),
        "is_saml": connection.kind == ConnectionKind.SAML,
        "form": form,
        "metadata": metadata or MetadataForm(),
        "ours": selectors.our_addresses(connection),
        "certificates": [certificate_facts(one) for one in connection.idp_certificates],
        "test": _test(connection),
        "verified": sorted(selectors.verified_domains(org.id)),
        "affected": affected[:_SHOWN],
        "affected_count": len(affected),
        "affected_more": max(0, len(affected) - _SHOWN),
        "spared": [one.label for one in accounts.member_infos(org.id) if one.user_id in spared],
    }
    failed = form.errors or (metadata is not None and metadata.errors)
    return render(request, "sso/connection.html", context, status=400 if failed else 200)


def _test(connection: Connection) -> dict[str, Any] | None:
    """What the last test brought, and what of it would stand in the way."""
    answer = connection.test_answer
    if answer is None:
        return None
    domains, email = selectors.verified_domains(connection.org_id), answer["email"]
    return {
        **answer,
        "claims": sorted((str(name), value) for name, value in answer["claims"].items()),
        "fits": selectors.domain_of(email) in domains,
        "subject_is_address": "@" in answer["subject"],
    }


@org_page(capability=CAPABILITY, title=TITLE, key="settings", personal=True)
@step_up_required
@require_POST
def connection_metadata(request: HttpRequest, connection_id: UUID) -> HttpResponse:
    """Fill a SAML connection with what the provider's metadata say."""
    org = org_of(request)
    connection = selectors.connection_get(org_id=org.id, connection_id=connection_id)
    if connection.kind != ConnectionKind.SAML:
        raise NotFound()
    form = MetadataForm(request.POST, request.FILES)
    if form.is_valid():
        try:
            found = _read_metadata(form)
            changes = {
                "idp_entity_id": found.entity_id,
                "idp_sso_url": found.sso_url,
                "idp_certificates": found.certificates,
                "idp_metadata_url": form.cleaned_data["url"],
            }
            services.update_connection(org_id=org.id, connection_id=connection.pk, changes=changes)
        except MindWeaveError as error:
            add_problem(form, error)
        else:
            messages.success(request, "The provider's metadata are in.")
            return redirect("sso_connection", org.slug, connection.pk)
    initial = {name: getattr(connection, name) for name in SamlForm.base_fields}
    initial["idp_certificates"] = "\n\n".join(map(_pem, connection.idp_certificates))
    return _connection(request, connection, SamlForm(roles=roles_to_give(org.id), initial=initial), form)


def _read_metadata(form: MetadataForm) -> saml.IdpMetadata:
    if form.cleaned_data["url"]:
        return saml.fetch_metadata(form.cleaned_data["url"])
    file = form.cleaned_data["file"]
    return saml.read_metadata(file.read(1024 * 1024 + 1) if file else form.cleaned_data["text"])


_ACTS = {
    "enable": (services.enable_connection, "People can sign in by it now."),
    "disable": (services.disable_connection, "Nobody signs in by it any more."),
    "enforce": (services.enforce_connection, "It is enforced. Whoever it holds signs in by it alone from now on."),
    "relax": (services.relax_connection, "It is no longer enforced."),
    "refresh": (services.refresh_metadata, "The provider's metadata were asked for."),
    "delete": (services.delete_connection, "The connection was deleted."),
}


@org_page(capability=CAPABILITY, title=TITLE, key="settings", personal=True)
@step_up_required
@require_POST
def connection_act(request: HttpRequest, connection_id: UUID, act: str) -> HttpResponse:
    """Enable, disable, enforce, relax, refresh or delete a connection."""
    org = org_of(request)
    if act not in _ACTS:
        raise NotFound()
    service, words = _ACTS[act]
    try:
        service(org_id=org.id, connection_id=connection_id)
    except NotFound:
        raise
    except MindWeaveError as error:
        told = [item["detail"] for item in error.errors]
        messages.error(request, f"{sentence(error)}{': ' + '; '.join(told) if told else ''}.")
    else:
        messages.success(request, words)
        if act == "delete":
            return redirect("sso_settings", org.slug)
    return redirect("sso_connection", org.slug, connection_id)
