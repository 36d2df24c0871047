"""The live server against its own document: no server error, and no answer that the document does not know.

Every operation is called with bodies and parameters made from the document: right ones about things that exist, by who
may, and wrong ones by anybody about anything. An answer that never comes is not checked, so each operation has to
succeed at least once, except those named in :data:`NEVER_BY_CHANCE`.
"""

from collections import Counter
from collections.abc import Callable
from http.cookiejar import DefaultCookiePolicy
from typing import Any

import pytest
import redis
import schemathesis
from django.conf import settings
from hypothesis import HealthCheck, Phase, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from requests import Session
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from schemathesis.transport.requests import SameHostRedirectsSession

from apps.accounts.services import add_member, create_organization
from apps.analytics.services import create_view
from apps.core import openapi
from apps.core.clock import now
from apps.projects.services import create_api_key, create_project
from apps.teams.services import add_team_member, create_team
from tests.cast import PASSWORD, Api, Cast, make_cast

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
RIGHT, WRONG = 6, 2
# What made-up data cannot do; each has its own tests of success.
NEVER_BY_CHANCE = {
    "POST /auth/mfa/verify": "needs a pending sign-in and a code of the moment",
    "POST /auth/refresh": "needs a token of the present family",
    "GET /v1/sessions/{session_id}": "needs a counted session",
    "GET /v1/events/{event_id}": "needs a counted event",
    "GET /v1/reprices/{reprice_id}": "needs a repricing",
    "GET /v1/imports/{import_id}": "needs an import",
    "GET /v1/imports/{import_id}/errors": "needs an import",
    "POST /v1/imports/{import_id}/cancel": "needs an import",
    "POST /v1/imports/{import_id}/resume": "needs one that failed",
}
_NEEDS_WHAT_IS_NOT_THERE = {
    "a stream, or an address that may be called": (
        "POST /audit/streams", "GET /audit/streams/{stream_id}", "PATCH /audit/streams/{stream_id}",
        "DELETE /audit/streams/{stream_id}", "POST /audit/streams/{stream_id}/secret",
        "POST /audit/streams/{stream_id}/test",
    ),
    "an entry of the trail": ("GET /audit/{entry_id}",),
    "a second factor, or what one says": (
        "PATCH /auth/mfa/factors/{factor_id}", "DELETE /auth/mfa/factors/{factor_id}",
        "POST /auth/mfa/recovery-codes", "POST /auth/mfa/verify/begin", "POST /auth/step-up/begin",
        "POST /auth/webauthn/login/complete", "POST /auth/webauthn/register/complete",
    ),
    "a provider's answer; success is a redirection": ("GET /auth/oauth/callback", "GET /auth/oauth/{provider}"),
    "a new password that is good enough": ("POST /auth/password",),
    "a mail's token": (
        "POST /auth/reset", "POST /auth/verify-email", "GET /invitations/{token}", "POST /invitations/{token}/accept",
    ),
    "another sign-in": ("DELETE /auth/sessions/{session_id}",),
    "a person who owns no organisation": ("DELETE /auth/me",),
    "an export": (
        "GET /org-exports/{export_id}", "GET /orgs/{org_id}/export", "GET /audit/exports/{export_id}",
        "GET /audit/exports/{export_id}/file",
    ),
    "a deleted organisation": ("POST /orgs/{org_id}/restore",),
    "an invitation": (
        "DELETE /orgs/{org_id}/invitations/{invitation_id}", "POST /orgs/{org_id}/invitations/{invitation_id}/resend",
    ),
    "permissions by their names": (
        "POST /orgs/{org_id}/roles", "PUT /projects/{project_id}/grants/{grantee_id}",
        "PUT /teams/{team_id}/grants/{user_id}",
    ),
    "a role that was made": (
        "GET /orgs/{org_id}/roles/{role_id}", "PATCH /orgs/{org_id}/roles/{role_id}",
        "DELETE /orgs/{org_id}/roles/{role_id}",
    ),
    "rights that were given": (
        "DELETE /projects/{project_id}/grants/{grantee_id}", "DELETE /teams/{team_id}/grants/{user_id}",
    ),
    "a connection, a domain, a mapping or a token of single sign-on": (
        "PUT /orgs/{org_id}/sso/break-glass/{user_id}", "DELETE /orgs/{org_id}/sso/break-glass/{user_id}",
        "GET /orgs/{org_id}/sso/connections/{connection_id}", "PATCH /orgs/{org_id}/sso/connections/{connection_id}",
        "DELETE /orgs/{org_id}/sso/connections/{connection_id}",
        "POST /orgs/{org_id}/sso/connections/{connection_id}/{act}", "POST /orgs/{org_id}/sso/domains",
        "DELETE /orgs/{org_id}/sso/domains/{domain_id}", "POST /orgs/{org_id}/sso/domains/{domain_id}/verify",
        "DELETE /orgs/{org_id}/sso/mappings/{mapping_id}", "DELETE /orgs/{org_id}/sso/scim-tokens/{token_id}",
    ),
    "a provisioning token": tuple(
        f"{method} /scim/v2/{path}"
        for path, methods in {
            "Groups": ("GET", "POST"), "Groups/{group_id}": ("GET", "PUT", "PATCH", "DELETE"),
            "ResourceTypes": ("GET",), "ResourceTypes/{name}": ("GET",),
            "Schemas": ("GET",), "Schemas/{name}": ("GET",),
            "ServiceProviderConfig": ("GET",), "Users": ("GET", "POST"),
            "Users/{scim_user_id}": ("GET", "PUT", "PATCH", "DELETE"),
        }.items()
        for method in methods
    ),
}  # fmt: skip
NEVER_BY_CHANCE |= {label: f"needs {what}" for what, labels in _NEEDS_WHAT_IS_NOT_THERE.items() for label in labels}
KEY_SCOPES = ("ingest", "backfill", "read", "gateway", "evaluate", "admin")


@pytest.mark.django_db(transaction=True)
def test_nothing_fails_and_nothing_undocumented_is_answered(live_server: Any) -> None:
    cast = make_cast()
    with without_cookies() as session:
        wrong = wrong_operations(cast, live_server.url, session)
    assert not wrong, "\n\n".join(f"== {label}\n{what[:1500]}" for label, what in wrong.items())


def without_cookies() -> Session:
    """One connection for all calls, for a server makes a new one to the database for each of its own.

    It forgets what it is given in between, and does not follow to other hosts, as without it.
    """
    session = SameHostRedirectsSession()
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    return session


def wrong_operations(cast: Cast, url: str, session: Session) -> dict[str, str]:
    """What is wrong, by operation."""
    wrong: dict[str, str] = {}
    for number, found in enumerate(schemathesis.openapi.from_dict(openapi.schema()).get_all_operations()):
        operation = found.ok()
        # Each begins with limits unused, and with an organisation of its own that it may change or remove.
        redis.Redis.from_url(settings.REDIS_URL).flushall()
        who, known = place(cast, number)
        if not any("apiKey" in choice for choice in operation.definition.raw.get("security", [])):
            who.pop("key")
        elif all("apiKey" in choice for choice in operation.definition.raw["security"]):
            who.pop("person")
        if operation.label == "POST /auth/register":
            known["email"] = "nobody-yet@example.com"
        seen: Counter[int] = Counter()
        try:
            call(operation, url, session, who, known, seen)
        except BaseExceptionGroup as group:
            wrong[operation.label] = "\n".join(str(part) for part in group.exceptions)
        except Exception as error:
            wrong[operation.label] = str(error) or repr(error)
        else:
            succeeded = any(200 <= status < 300 for status in seen)
            if succeeded == (operation.label in NEVER_BY_CHANCE):
                wrong[operation.label] = f"succeeded: {succeeded}, which was not expected; answers: {dict(seen)}"
    return wrong


def place(cast: Cast, number: int) -> tuple[dict[str, dict[str, str]], dict[str, str]]:
    """Credentials, and what exists for one operation, by the names of parameters and fields."""
    org = create_organization(owner_id=cast.alice.id, name=f"Place {number}")
    add_member(org_id=org.id, user_id=cast.dora.id, role="viewer")
    team = create_team(org_id=org.id, name="Loom")
    add_team_member(org_id=org.id, team_id=team.id, user_id=cast.dora.id)
    project = create_project(org_id=org.id, name="Weaver", team_id=team.id)
    key, _ = create_api_key(org_id=org.id, project_id=project.id, name="to change", scopes=("ingest",))
    _, token = create_api_key(org_id=org.id, project_id=project.id, name="to use", scopes=KEY_SCOPES)
    view = create_view(org_id=org.id, user_id=cast.alice.id, page="usage", name="By person", query="by=user")
    login = Api().post("/auth/login", {"email": cast.alice.email, "password": PASSWORD}).json()
    known = {
        "org_id": org.id, "team_id": team.id, "project_id": project.id, "key_id": key.id, "user_id": cast.dora.id,
        "view_id": view.id, "role": "developer",
        "owner_id": cast.dora.id, "email": cast.charlie.email, "password": PASSWORD, "timestamp": now().isoformat(),
    }  # fmt: skip
    who = {
        "person": {"Authorization": f"Bearer {login['access_token']}", "X-Org-Id": str(org.id)},
        "key": {"Authorization": f"Bearer {token}"},
    }
    return who, {name: str(value) for name, value in known.items()}


def call(
    operation: Any,
    url: str,
    session: Session,
    who: dict[str, dict[str, str]],
    known: dict[str, str],
    seen: Counter[int],
) -> None:
    """Try an operation; counts the answers in ``seen`` and raises what was wrong with one."""

    def send(case: Any, headers: dict[str, str]) -> None:
        answer = case.call(base_url=url, session=session, headers=headers, timeout=30)
        seen[answer.status_code] += 1
        case.validate_response(answer, checks=CHECKS)

    def right(case: Any, headers: dict[str, str], about: bool) -> None:
        for part in (case.path_parameters, case.body):
            if isinstance(part, dict):
                part |= {name: known[name] for name in part if name in known}
        if not about and isinstance(case.query, dict):
            case.query.clear()
        send(case, headers)

    run(right, operation, GenerationMode.POSITIVE, RIGHT, list(who.values()) or [{}])
    run(
        lambda case, headers, about: send(case, headers), operation, GenerationMode.NEGATIVE, WRONG, [*who.values(), {}]
    )


def run(
    attempt: Callable[[Any, dict[str, str], bool], None], operation: Any, mode: GenerationMode, examples: int, who: Any
) -> None:
    limited = hypothesis_settings(
        max_examples=examples, deadline=None, derandomize=True, database=None,
        phases=[Phase.explicit, Phase.generate], suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    made = given(case=operation.as_strategy(generation_mode=mode), headers=st.sampled_from(who), about=st.booleans())

    @limited
    @made
    def tried(case: Any, headers: dict[str, str], about: bool) -> None:
        attempt(case, headers, about)

    try:
        tried()
    except Exception as error:
        # An operation without parameters and body has nothing that could be wrong.
        if mode is not GenerationMode.NEGATIVE or type(error).__name__ not in {"Unsatisfiable", "SkipTest"}:
            raise
