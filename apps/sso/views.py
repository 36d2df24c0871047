"""Signing in by an organisation's own provider: finding it, going there, coming back."""

from datetime import UTC, datetime
from urllib.parse import urlencode
from uuid import UUID

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.validators import validate_email
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from apps.accounts import selectors as accounts
from apps.core import ports
from apps.core.authentication import client_ip, user_actor
from apps.core.crypto import new_token
from apps.core.errors import BadRequest, MindWeaveError, NotFound, PermissionDenied
from apps.core.ratelimit import Limit, enforce
from apps.identity.web import go_on, user_id_of
from apps.sso import oidc, saml, selectors, services
from apps.sso.contracts import Arrival
from apps.sso.errors import SsoRefused
from apps.sso.forms import FindForm
from apps.sso.models import Connection, ConnectionKind
from apps.sso.pending import Pending, remember, take

__all__ = ["callback", "confirm", "find", "saml_acs", "saml_finish", "saml_metadata", "start"]

_FIND = Limit("sso-find", 30, 300)
_START = Limit("sso-start", 120, 300)
_ANSWER = Limit("sso-answer", 300, 300)


def _next(request: HttpRequest) -> str:
    """Where to go afterwards: a path of this site, or nothing."""
    wanted = request.POST.get("next") or request.GET.get("next") or ""
    fits = wanted.startswith("/") and len(wanted) <= 2000
    return wanted if fits and url_has_allowed_host_and_scheme(wanted, allowed_hosts=None) else ""


def _limit(limit: Limit, request: HttpRequest) -> None:
    enforce(limit, client_ip(request) or "local", detail="Too many sign-ins from your network")


# ---------------------------------------------------------------- finding the provider
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def find(request: HttpRequest) -> HttpResponse:
    """``/login/sso``: an address leads to the provider of its domain. Of all others the answer is the same."""
    form = FindForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        _limit(_FIND, request)
        email = form.cleaned_data["email"]
        connection = selectors.connection_for_domain(email)
        if connection is not None:
            query = {"login_hint": email, **({"next": _next(request)} if _next(request) else {})}
            return _onward(request, f"{reverse('sso_start', args=[connection.pk])}?{urlencode(query)}")
        form.add_error(
            "email", "No organisation signs in by this address. Ask your administrator, or sign in with a password."
        )
    context = {"form": form, "next": _next(request)}
    return render(request, "sso/find.html", context, status=400 if form.errors else 200)


def _onward(request: HttpRequest, url: str) -> HttpResponse:
    """A page that goes on by itself: our policy lets no form lead to another site, by a redirect neither."""
    response = render(request, "sso/onward.html", {"url": url})
    response.headers["Refresh"] = f"0;url={url}"
    return response


# ---------------------------------------------------------------- there
@never_cache
@require_safe
def start(request: HttpRequest, name: str) -> HttpResponse:
    """``/sso/<id or short name>/start``: to the provider. With ``?test=1``, for whoever manages it, as a test."""
    _limit(_START, request)
    connection = _connection(name)
    tester = _tester(request, connection) if request.GET.get("test") else ""
    if not connection.is_enabled and not tester:
        raise NotFound()
    return _leave(request, connection, hint=_hint(request.GET.get("login_hint", "")), tester=tester)


def _leave(
    request: HttpRequest, connection: Connection, *, hint: str, tester: str = "", confirmer: str = ""
) -> HttpResponse:
    """To the provider; who confirms is asked for a credential there whatever it knows of them."""
    pending = Pending(
        connection_id=str(connection.pk), next=_next(request), nonce=new_token(), verifier=new_token(384),
        tester=tester, confirmer=confirmer,
    )  # fmt: skip
    fresh = bool(confirmer)
    try:
        if connection.kind == ConnectionKind.SAML:
            key, url = saml.new_request(connection, relay_state="", fresh=fresh)
        else:
            key = new_token()
            url = oidc.authorize_url(
                connection, state=key, nonce=pending.nonce, verifier=pending.verifier, login_hint=hint, fresh=fresh
            )
    except (oidc.OidcRefused, saml.SamlRefused) as error:
        raise _refused(connection, SsoRefused(str(error)[:300], "Your identity provider cannot be reached.")) from error
    remember(request, key, pending)
    return redirect(url)


@never_cache
@login_required
@require_safe
def confirm(request: HttpRequest) -> HttpResponse:
    """``/sso/confirm``: a signed-in person shows their provider a credential again, before something sensitive."""
    _limit(_START, request)
    if request.headers.get("Sec-Fetch-Site", "same-origin") not in {"same-origin", "none"}:
        # A page elsewhere must not make a browser confirm anything.
        raise BadRequest("This begins on the page that asks for it")
    connection = selectors.connection_for_confirmation(user_id_of(request))
    if connection is None:
        messages.error(request, "You have signed in by no organisation's provider yet. Confirm in another way.")
        return redirect(f"{reverse('account_confirm')}?{urlencode({'next': _next(request)})}")
    return _leave(request, connection, hint=_hint(getattr(request.user, "email", "")), confirmer=str(request.user.pk))


def _connection(name: str) -> Connection:
    try:
        found = selectors.connection_find(UUID(name))
    except ValueError:
        found = selectors.connection_for_org(name)
    if found is None:
        raise NotFound()
    return found


def _tester(request: HttpRequest, connection: Connection) -> str:
    """The id of whoever tests the connection; they must manage it."""
    if not request.user.is_authenticated:
        raise NotFound()
    actor, permissions = user_actor(request.user, request), ports.permissions.get()
    if not permissions.is_member(actor, connection.org_id):
        raise NotFound()
    if not permissions.check(actor, "sso.manage", connection.org_id):
        raise PermissionDenied("Your role lacks 'sso.manage' here")
    return str(request.user.pk)


def _hint(text: str) -> str:
    try:
        validate_email(text)
    except Exception:
        return ""
    return text


# ---------------------------------------------------------------- and back, OpenID Connect
@never_cache
@require_safe
def callback(request: HttpRequest) -> HttpResponse:
    """``/sso/callback``: the provider's answer, for a sign-in that this browser began."""
    _limit(_ANSWER, request)
    pending = take(request, request.GET.get("state", ""))
    if pending is None:
        raise SsoRefused(
            "no such sign-in", "This sign-in was not begun in this browser, or took too long. Begin again."
        )
    connection = _pending_connection(pending, ConnectionKind.OIDC)
    try:
        # RFC 9207: a provider that names itself must be the one that was asked.
        if request.GET.get("iss", connection.issuer) != connection.issuer:
            raise oidc.OidcRefused("the answer is of another issuer")
        if error := request.GET.get("error"):
            raise oidc.OidcRefused(f"the provider refused: {error[:80]}")
        code = request.GET.get("code", "")
        if not code:
            raise oidc.OidcRefused("the answer has no code")
        arrival = oidc.fetch_arrival(connection, code=code, nonce=pending.nonce, verifier=pending.verifier)
    except oidc.OidcRefused as error:
        raise _refused(connection, SsoRefused(str(error)[:300])) from error
    return _arrive(request, connection, pending, arrival)


def _pending_connection(pending: Pending, kind: ConnectionKind) -> Connection:
    """The connection as it is now: it may have been switched off meanwhile."""
    connection = selectors.connection_find(pending.connection)
    if connection is None or connection.kind != kind or not (connection.is_enabled or pending.tester):
        raise SsoRefused("the connection is gone or off")
    return connection


def _refused(connection: Connection, error: MindWeaveError) -> MindWeaveError:
    services.note_refusal(connection=connection, error=error)
    return error


def _arrive(request: HttpRequest, connection: Connection, pending: Pending, arrival: Arrival) -> HttpResponse:
    org = accounts.org_get(connection.org_id)
    if pending.tester:
        if str(request.user.pk) != pending.tester:
            raise SsoRefused("the tester has signed out")
        services.keep_test(connection=connection, arrival=arrival)
        return redirect("sso_connection", org.slug, connection.pk)
    if pending.confirmer:
        return _confirmed(request, connection, pending, arrival)
    try:
        services.sign_in(request=request, connection=connection, arrival=arrival)
    except MindWeaveError as error:
        raise _refused(connection, error) from error
    return redirect(pending.next or reverse("home", args=[org.slug]))


def _confirmed(request: HttpRequest, connection: Connection, pending: Pending, arrival: Arrival) -> HttpResponse:
    try:
        services.confirm_by_provider(
            request=request, connection=connection, arrival=arrival, user_id=UUID(pending.confirmer),
            asked_at=datetime.fromtimestamp(pending.at, UTC),
        )  # fmt: skip
    except MindWeaveError as error:
        raise _refused(connection, error) from error
    return go_on(request, pending.next)


# ---------------------------------------------------------------- and back, SAML
@require_safe
def saml_metadata(request: HttpRequest, connection_id: UUID) -> HttpResponse:
    """``/sso/<id>/saml/metadata``: our side, for the provider. It holds no secret and names no organisation."""
    connection = _saml_connection(connection_id)
    return HttpResponse(saml.our_metadata(connection), content_type="application/samlmetadata+xml")


@never_cache
@csrf_exempt
@sensitive_post_parameters("SAMLResponse")
@require_POST
def saml_acs(request: HttpRequest, connection_id: UUID) -> HttpResponse:
    """``/sso/<id>/saml/acs``: the provider's POST, from another site, so without our cookie and without its token.

    The answer is checked and put aside; the browser is sent on by GET, and that request carries the cookie
    (``SameSite=Lax``), by which the next view sees whether this browser asked.
    """
    _limit(_ANSWER, request)
    connection = _saml_connection(connection_id)
    try:
        answer = _read(connection, request.POST.get("SAMLResponse", ""))
        if not answer.in_response_to and not connection.allows_unsolicited:
            raise saml.SamlRefused("nobody here asked for the answer")
        ticket = services.receive_assertion(connection=connection, answer=answer)
    except saml.SamlRefused as error:
        raise _refused(connection, SsoRefused(str(error))) from error
    except SsoRefused as error:
        raise _refused(connection, error) from error
    response = redirect(f"{reverse('sso_saml_finish', args=[connection_id])}?{urlencode({'ticket': ticket})}")
    response.status_code = 303
    return response


def _read(connection: Connection, encoded: str) -> saml.SamlAnswer:
    """The answer; one signed by a key that is not known has the metadata fetched once, where their address is known."""
    try:
        return saml.read_answer(connection, encoded)
    except saml.SamlRefused as error:
        if not error.unknown_key or not services.renew_certificates(connection=connection):
            raise
    return saml.read_answer(_saml_connection(connection.pk), encoded)


@never_cache
@require_safe
def saml_finish(request: HttpRequest, connection_id: UUID) -> HttpResponse:
    """``/sso/<id>/saml/finish``: takes up, once, an answer that this browser asked for."""
    _limit(_ANSWER, request)
    connection = _saml_connection(connection_id)
    try:
        arrival, request_id, _ = services.take_assertion(connection=connection, ticket=request.GET.get("ticket", ""))
        pending = take(request, request_id)
        if request_id and pending is None:
            raise SsoRefused("another browser asked for the answer, or it came too late")
        if pending is None and not connection.allows_unsolicited:
            raise SsoRefused("nobody here asked for the answer")
        if pending is not None and pending.connection != connection.pk:
            raise SsoRefused("the answer is of another connection")
    except SsoRefused as error:
        raise _refused(connection, error) from error
    begun = pending or Pending(connection_id=str(connection.pk))
    return _arrive(request, _pending_connection(begun, ConnectionKind.SAML), begun, arrival)


def _saml_connection(connection_id: UUID) -> Connection:
    connection = selectors.connection_find(connection_id)
    if connection is None or connection.kind != ConnectionKind.SAML:
        raise NotFound()
    return connection
