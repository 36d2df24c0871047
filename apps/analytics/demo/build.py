"""Making the demo organisation by the services that people use."""

import secrets
import time
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from apps.accounts import services as accounts
from apps.accounts.permissions import capabilities_of_role
from apps.analytics.demo.cast import ORG, PEOPLE, PROJECTS, TEAMS
from apps.analytics.demo.history import history
from apps.core.clock import now
from apps.core.context import bind
from apps.core.contracts import system_actor
from apps.identity import services as identity
from apps.notify.selectors import unread_count
from apps.notify.services import mark_all_read
from apps.projects import selectors as project_reads
from apps.projects import services as projects
from apps.projects.contracts import SCOPES, KeyContext
from apps.teams import services as teams
from apps.usage import selectors as usage_reads
from apps.usage import services as usage
from apps.usage.contracts import EventIn

__all__ = ["build"]

TIMEZONE = "Europe/Berlin"
_BATCH = 2000
_DRAINED_WITHIN = 60.0
_TOLD_WITHIN = 10.0
_DEMO_SCOPES = tuple(scope for scope in SCOPES if scope != "admin")


@dataclass(frozen=True, slots=True)
class _Made:
    org_id: UUID
    people: dict[str, list[UUID]]
    projects: dict[str, UUID]


def build() -> dict[str, Any]:
    """Make everything and wait until it is counted; returns what a person needs to sign in and to send."""
    with bind(actor=system_actor("demo")):
        password, staff_password = _password(), _password()
        staff_email = "staff@mindweave.test"
        identity.register(
            email=staff_email, password=staff_password, name="Demo staff", is_staff=True, email_verified=True
        )
        made, email = _organization(password)
        first = made.projects[PROJECTS[0].name]
        _, token = projects.create_api_key(
            org_id=made.org_id, project_id=first, name="Demo", scopes=_DEMO_SCOPES, rate_limit_per_minute=0
        )
        usage.register_tag_key(org_id=made.org_id, key="feature")
        _write_history(made, now())
        return {
            "email": email,
            "password": password,
            "staff_email": staff_email,
            "staff_password": staff_password,
            "org_id": str(made.org_id),
            "project_id": str(first),
            "api_key": token,
        }


def _password() -> str:
    return secrets.token_urlsafe(12)


def _email(name: str) -> str:
    return f"{name.lower().replace(' ', '.')}@harborfreight.test"


def _organization(password: str) -> tuple[_Made, str]:
    people = [
        identity.register(email=_email(name), password=password if index == 0 else None, name=name, email_verified=True)
        for index, (name, _) in enumerate(PEOPLE)
    ]
    org = accounts.create_organization(owner_id=people[0].id, name=ORG, timezone=TIMEZONE)
    team_ids = {name: teams.create_team(org_id=org.id, name=name).id for name in TEAMS}
    roles = {1: "admin", 2: "billing", 3: "viewer"}
    by_team: dict[str, list[UUID]] = {}
    for index, (person, (_, team)) in enumerate(zip(people, PEOPLE, strict=True)):
        if index:
            accounts.add_member(org_id=org.id, user_id=person.id, role=roles.get(index, "developer"))
        teams.add_team_member(org_id=org.id, team_id=team_ids[team], user_id=person.id)
        by_team.setdefault(team, []).append(person.id)
    made = {
        project.name: projects.create_project(org_id=org.id, name=project.name, team_id=team_ids[project.team]).id
        for project in PROJECTS
    }
    _know_the_people(org.id, people[0].id)
    return _Made(org.id, by_team, made), people[0].email


def _know_the_people(org_id: UUID, owner_id: UUID) -> None:
    """Whom the owner has just added is no news to them; the bus tells of it a moment later."""
    owner = {"org_id": org_id, "user_id": owner_id}
    held = capabilities_of_role(org_id=org_id, role="owner")
    deadline = time.monotonic() + _TOLD_WITHIN
    while unread_count(**owner, capabilities=held) < len(PEOPLE) - 1 and time.monotonic() < deadline:
        time.sleep(0.05)
    mark_all_read(**owner, capabilities=held)


def _write_history(made: _Made, until: datetime) -> None:
    """Each project's history, under a key of its own with the scope that lets it write the past."""
    zone = ZoneInfo(TIMEZONE)
    for seed, project in enumerate(PROJECTS):
        key = _key(made, made.projects[project.name], project.name)
        batch: list[EventIn] = []
        for event in history(project, made.people[project.team], until=until, zone=zone, seed=seed):
            batch.append(event)
            if len(batch) == _BATCH:
                _send(key, batch)
                batch = []
        _send(key, batch)
    deadline = time.monotonic() + _DRAINED_WITHIN
    while usage_reads.as_of(made.org_id) < until:
        if time.monotonic() > deadline:
            raise RuntimeError("the history was accepted, but the drain has not counted it; is it running?")
        time.sleep(0.05)


def _key(made: _Made, project_id: UUID, name: str) -> KeyContext:
    _, token = projects.create_api_key(
        org_id=made.org_id, project_id=project_id, name=f"{name} production", scopes=("ingest", "backfill")
    )
    key = project_reads.key_authenticate(token)
    if key is None:
        raise RuntimeError("a key that was just made does not work")
    return key


def _send(key: KeyContext, batch: list[EventIn]) -> None:
    if not batch:
        return
    result = usage.ingest(key=key, events=batch)
    if result.rejected:
        raise RuntimeError(f"the demo's own events were rejected: {result.rejected[0]}")
