"""Settings → Single sign-on: domains, connections, who is held to them, groups, provisioning."""

from typing import Any
from uuid import UUID

from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_POST

from apps.accounts import selectors as accounts
from apps.accounts.web import org_page
from apps.core.errors import MindWeaveError, NotFound
from apps.core.web.forms import add_problem, new_once, sentence, take_once
from apps.identity.web import step_up_required
from apps.sso import saml, selectors, services
from apps.sso.contracts import ScimTokenInfo
from apps.sso.forms import BreakGlassForm, DomainForm, MappingForm, MetadataForm, OidcForm, SamlForm, TokenForm
from apps.sso.models import Connection, ConnectionKind
from apps.sso.roles import OWNER, roles_to_give
from apps.sso.saml.certificates import certificate_facts
from apps.teams import selectors as teams

__all__ = [
    "break_glass_add",
    "break_glass_remove",
    "connection_act",
    "connection_metadata",
    "connection_new",
    "connection_page",
    "domain_remove",
    "domain_verify",
    "group_remove",
    "groups_page",
    "overview",
    "provisioning_page",
    "token_revoke",
]

_CAPABILITY, _TITLE = "sso.manage", "Single sign-on"
_FORMS: dict[str, type[OidcForm] | type[SamlForm]] = {"oidc": OidcForm, "saml": SamlForm}
_SHOWN = 8
_LOG = 50


def _org(request: HttpRequest) -> Any:
    return request.org  # type: ignore[attr-defined]


# ---------------------------------------------------------------- domains and who is held to the provider
@org_page(capability=_CAPABILITY, title=_TITLE, key="settings", personal=True)
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def overview(request: HttpRequest) -> HttpResponse:
    """``/o/<slug>/settings/sso``: domains with their records, connections, break-glass owners; a form for a domain."""
    org = _org(request)
    form = DomainForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        return _add_domain(request, form)
    return _overview(request, org, form)


@step_up_required
def _add_domain(request: HttpRequest, form: DomainForm) -> HttpResponse:
    org = _org(request)
    try:
        services.add_domain(org_id=org.id, name=form.cleaned_data["name"])
    except MindWeaveError as error:
        add_problem(form, error)
        return _overview(request, org, form)
    return redirect("sso_settings", org.slug)


def _overview(request: HttpRequest, org: Any, form: DomainForm) -> HttpResponse:
    spared = selectors.break_glass_ids(org.id)
    owners = [one for one in accounts.member_infos(org.id) if one.role == OWNER or one.user_id in spared]
    domains = [selectors.domain_info(row) for row in selectors.domain_list(org.id)]
    context = {
        "tab": "sso",
        "part": "overview",
        "form": form,
        "domains": domains,
        "connections": list(selectors.connection_list(org.id)),
        "spared": [
            {"person": one, "fit": selectors.is_fit_for_break_glass(org_id=org.id, user_id=one.user_id)}
            for one in owners
            if one.user_id in spared
        ],
        "add": BreakGlassForm(people=[one for one in owners if one.user_id not in spared]),
        "grace_days": settings.SSO_DOMAIN_GRACE_DAYS,
        "login_url": f"{settings.PUBLIC_URL.rstrip('/')}/sso/{org.slug}/start",
    }
    return render(request, "sso/overview.html", context, status=400 if form.errors else 200)


@org_page(capability=_CAPABILITY, title=_TITLE, key="settings", personal=True)
@step_up_required
@require_POST
def domain_verify(request: HttpRequest, domain_id: UUID) -> HttpResponse:
    """Look for the record of a domain now."""
    try:
        domain = services.verify_domain(org_id=_org(request).id, domain_id=domain_id)
    except NotFound:
        raise
    except MindWeaveError as error:
        messages.error(request, f"{sentence(error)}.")
    else:
        messages.success(request, f"{domain.name} is verified.")
    return redirect("sso_settings", _org(request).slug)


@org_page(capability=_CAPABILITY, title=_TITLE, key="settings", personal=True)
@step_up_required
@require_POST
def domain_remove(request: HttpRequest, domain_id: UUID) -> HttpResponse:
    """Give a domain up."""
    services.remove_domain(org_id=_org(request).id, domain_id=domain_id)
    messages.success(request, "The domain was removed.")
    return redirect("sso_settings", _org(request).slug)


@org_page(capability=_CAPABILITY, title=_TITLE, key="settings", personal=True)
@step_up_required
@require_POST
def break_glass_add(request: HttpRequest) -> HttpResponse:
    """Let an owner sign in without the provider."""
    org = _org(request)
    form = BreakGlassForm(request.POST, people=accounts.member_infos(org.id))
    if form.is_valid():
        try:
            services.add_break_glass(org_id=org.id, user_id=form.cleaned_data["user_id"])
        except MindWeaveError as error:
            messages.error(request, f"{sentence(error)}.")
    else:
        messages.error(request, "Choose an owner.")
    return redirect("sso_settings", org.slug)


@org_page(capability=_CAPABILITY, title=_TITLE, key="settings", personal=True)
@step_up_required
@require_POST
def break_glass_remove(request: HttpRequest, user_id: UUID) -> HttpResponse:
    """Take an owner's exemption away."""
    try:
        services.remove_break_glass(org_id=_org(request).id, user_id=user_id)
    except NotFound:
        raise
    except MindWeaveError as error:
        messages.error(request, f"{sentence(error)}.")
    return redirect("sso_settings", _org(request).slug)


# ---------------------------------------------------------------- connections
@org_page(capability=_CAPABILITY, title=_TITLE, key="settings", personal=True)
@never_cache
@sensitive_post_parameters("client_secret")
@require_http_methods(["GET", "HEAD", "POST"])
def connection_new(request: HttpRequest, kind: str) -> HttpResponse:
    """``…/settings/sso/new/<kind>``: a new connection. What the provider must be told of us it has once made."""
    org = _org(request)
    if kind not in _FORMS:
        raise NotFound()
    form = _FORMS[kind](request.POST or None, roles=roles_to_give(org.id), initial={"default_role": "developer"})
    if request.method == "POST" and form.is_valid():
        return _make_connection(request, kind, form)
    return _new(request, kind, form)


@step_up_required
def _make_connection(request: HttpRequest, kind: str, form: OidcForm | SamlForm) -> HttpResponse:
    org, values = _org(request), dict(form.cleaned_data)
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


@org_page(capability=_CAPABILITY, title=_TITLE, key="settings", personal=True)
@never_cache
@sensitive_post_parameters("client_secret")
@require_http_methods(["GET", "HEAD", "POST"])
def connection_page(request: HttpRequest, connection_id: UUID) -> HttpResponse:
    """``…/settings/sso/connections/<id>``: its settings, what the provider needs of us, its test, and its switches."""
    org = _org(request)
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
    org = _org(request)
    try:
        services.update_connection(org_id=org.id, connection_id=connection.pk, changes=dict(form.cleaned_data))
    except MindWeaveError as error:
        add_problem(form, error)
        return _connection(request, connection, form)
    messages.success(request, "Saved.")
    return redirect("sso_connection", org.slug, connection.pk)


def _connection(
    request: HttpRequest, connection: Connection, form: OidcForm | SamlForm, metadata: MetadataForm | None = None
) -> HttpResponse:
    org = _org(request)
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


@org_page(capability=_CAPABILITY, title=_TITLE, key="settings", personal=True)
@step_up_required
@require_POST
def connection_metadata(request: HttpRequest, connection_id: UUID) -> HttpResponse:
    """Fill a SAML connection with what the provider's metadata say."""
    org = _org(request)
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
    "delete": (services.delete_connection, "The connection was deleted."),
}


@org_page(capability=_CAPABILITY, title=_TITLE, key="settings", personal=True)
@step_up_required
@require_POST
def connection_act(request: HttpRequest, connection_id: UUID, act: str) -> HttpResponse:
    """Enable, disable, enforce, relax or delete a connection."""
    org = _org(request)
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


# ---------------------------------------------------------------- groups
@org_page(capability=_CAPABILITY, title=_TITLE, key="settings", personal=True)
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def groups_page(request: HttpRequest) -> HttpResponse:
    """``…/settings/sso/groups``: what groups of the provider give, and a form for one more."""
    org = _org(request)
    form = MappingForm(request.POST or None, roles=roles_to_give(org.id), teams=teams.team_names(org.id))
    if request.method == "POST" and form.is_valid():
        return _add_mapping(request, form)
    return _groups(request, form)


@step_up_required
def _add_mapping(request: HttpRequest, form: MappingForm) -> HttpResponse:
    org = _org(request)
    try:
        services.add_mapping(org_id=org.id, **form.cleaned_data)
    except MindWeaveError as error:
        add_problem(form, error)
        return _groups(request, form)
    return redirect("sso_groups", org.slug)


def _groups(request: HttpRequest, form: MappingForm) -> HttpResponse:
    org = _org(request)
    roles = roles_to_give(org.id)
    rows: list[dict[str, Any]] = [
        {"mapping": row, "role": roles[row.role].name if row.role in roles else row.role}
        for row in selectors.mapping_list(org.id)
    ]
    context = {
        "tab": "sso",
        "part": "groups",
        "form": form,
        "rows": rows,
        "pushed": selectors.pushed_groups(org.id),
        "governs_roles": any(row["mapping"].role for row in rows),
    }
    return render(request, "sso/groups.html", context, status=400 if form.errors else 200)


@org_page(capability=_CAPABILITY, title=_TITLE, key="settings", personal=True)
@step_up_required
@require_POST
def group_remove(request: HttpRequest, mapping_id: UUID) -> HttpResponse:
    """Have a group give this no more."""
    services.remove_mapping(org_id=_org(request).id, mapping_id=mapping_id)
    return redirect("sso_groups", _org(request).slug)


# ---------------------------------------------------------------- provisioning
@org_page(capability=_CAPABILITY, title=_TITLE, key="settings", personal=True)
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def provisioning_page(request: HttpRequest) -> HttpResponse:
    """``…/settings/sso/provisioning``: the endpoint, its tokens, what was asked of late. A new token is shown once."""
    form = TokenForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        return _make_token(request, form)
    return _provisioning(request, form)


@step_up_required
def _make_token(request: HttpRequest, form: TokenForm) -> HttpResponse:
    org = _org(request)
    if not take_once(request):
        return redirect("sso_provisioning", org.slug)
    try:
        made = services.create_scim_token(org_id=org.id, name=form.cleaned_data["name"], expires_at=form.expires_at)
    except MindWeaveError as error:
        add_problem(form, error)
        return _provisioning(request, form)
    return _provisioning(request, TokenForm(), made)


def _provisioning(request: HttpRequest, form: TokenForm, made: tuple[ScimTokenInfo, str] | None = None) -> HttpResponse:
    org = _org(request)
    context = {
        "tab": "sso",
        "part": "provisioning",
        "form": form,
        "made": made,
        "once": new_once(),
        "endpoint": f"{settings.PUBLIC_URL.rstrip('/')}/scim/v2",
        "tokens": [selectors.scim_token_info(row) for row in selectors.scim_tokens(org.id)],
        "counts": selectors.provisioned_counts(org.id),
        "log": list(selectors.request_list(org.id)[:_LOG]),
    }
    return render(request, "sso/provisioning.html", context, status=400 if form.errors else 200)


@org_page(capability=_CAPABILITY, title=_TITLE, key="settings", personal=True)
@step_up_required
@require_POST
def token_revoke(request: HttpRequest, token_id: UUID) -> HttpResponse:
    """Revoke a token of provisioning."""
    services.revoke_scim_token(org_id=_org(request).id, token_id=token_id)
    messages.success(request, "The token is revoked. The next request with it is refused.")
    return redirect("sso_provisioning", _org(request).slug)
