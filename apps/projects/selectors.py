"""Reads of projects and keys, the authentication of keys among them."""

import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

from django.db import connection, transaction
from django.db.models import F, QuerySet

from apps.audit.services import record_refusal
from apps.core.asking import Question, Rows
from apps.core.clock import now
from apps.core.context import bind
from apps.core.contracts import ANONYMOUS
from apps.core.crypto import pepper_id, token_digests
from apps.core.errors import NotFound, PermissionDenied
from apps.core.meanwhile import meanwhile
from apps.core.tenancy import org_scope, system_scope
from apps.projects.contracts import ApiKeyInfo, KeyContext, ProjectInfo
from apps.projects.lookup import find_key, found_key, keep_under_current_pepper, key_question
from apps.projects.models import ApiKey, Project, RejectedKey
from apps.projects.networks import is_within
from apps.projects.rules import (
    ENVIRONMENT_TAG,
    key_policy_get,
    project_settings_get,
    raw_retention_floor,
    raw_retention_of_projects,
    raw_retentions,
    rules_for,
)
from apps.projects.tokens import is_well_formed, recognisable_prefix
from apps.projects.uses import note_use

__all__ = [
    "ENVIRONMENT_TAG",
    "forget_keys",
    "key_asked",
    "key_authenticate",
    "key_get",
    "key_heard",
    "key_info",
    "key_list",
    "key_names",
    "key_of_token",
    "key_policy_get",
    "key_rejections",
    "key_remembered",
    "org_of_project",
    "project_get",
    "project_info",
    "project_list",
    "project_names",
    "project_settings_get",
    "raw_retention_floor",
    "raw_retention_of_projects",
    "raw_retentions",
    "rules_for",
]

KEY_PURPOSE = "api-key"

# What keys depend on has a version, which triggers count up in the transaction that changes it. Each process has looked
# at it so lately: a key that is revoked is dead everywhere once this has passed, without any message to the processes.
# After half of that it is looked at meanwhile, so that a busy process has no request that waits for it.
_VERSION_SECONDS = 0.4
# A token that means nothing is looked up again after this; one that works, as long as the version stays.
_REFUSED_SECONDS = 0.8
_CACHE_SECONDS = 600.0
_CACHE_SIZE = 50_000
_LAST_USED_EVERY = 60.0


@dataclass(frozen=True, slots=True)
class _Cached:
    """What a token meant at a version; ``until`` is of the monotonic clock, ``expires_at`` the key's own end."""

    context: KeyContext | None
    version: int
    until: float
    expires_at: datetime | None = None


_cache: dict[str, _Cached] = {}
_version: tuple[float, int] = (0.0, -1)
_last_used: dict[UUID, float] = {}
_refused: dict[UUID, float] = {}
_lock = threading.Lock()


# ---------------------------------------------------------------- authentication
def key_authenticate(token: str, *, ip: str | None = None, user_agent: str = "") -> KeyContext | None:
    """The key behind a token, or None where it is malformed, unknown, revoked, expired or of a closed organisation.

    ``ip`` is where it is used from: :class:`PermissionDenied` where the key may not be used from there. A hit in the
    cache of this process costs a look-up in a dictionary; a change is seen within 0.4 seconds.
    """
    moment = time.monotonic()
    version = _current_version(moment)
    found = _cache.get(token)
    if found is None or found.until <= moment or (found.context is not None and not _holds(found, version)):
        prefix = recognisable_prefix(token)
        if prefix is None:
            return None
        found = _look_up(token, prefix, version, moment, ip)
        _remember(token, found)
    context = found.context
    if context is not None:
        if context.allowed_ips and not is_within(ip, context.allowed_ips):
            _refuse_address(context, ip)
        _note_use(context, moment, ip, user_agent)
    return context


def key_remembered(token: str, *, ip: str | None = None, user_agent: str = "") -> KeyContext | None:
    """:func:`key_authenticate` where this process knows the answer and asks nobody; None says nothing of the key."""
    moment = time.monotonic()
    found = _cache.get(token)
    if (
        found is None
        or found.context is None
        or found.until <= moment
        or moment - _version[0] >= 0.9 * _VERSION_SECONDS
    ):
        return None
    if not _holds(found, _current_version(moment)):
        return None
    if found.context.allowed_ips and not is_within(ip, found.context.allowed_ips):
        return None
    _note_use(found.context, moment, ip, user_agent)
    return found.context


def key_asked(token: str) -> tuple[Question, int] | None:
    """What a loop asks of a token that this process does not know, and as of which version of what keys depend on.

    None where more would have to be asked first: then :func:`key_authenticate` does.
    """
    checked_at, version = _version
    moment, refused = time.monotonic(), _cache.get(token)
    if moment - checked_at >= 0.9 * _VERSION_SECONDS or not is_well_formed(token):
        return None
    if refused is not None and refused.context is None and moment < refused.until:
        return None
    return key_question(token_digests(token, KEY_PURPOSE)), version


def key_heard(token: str, version: int, rows: Rows) -> bool:
    """Remember the answer to :func:`key_asked`; whether :func:`key_remembered` knows the key now.

    What is unknown, dead or anything but usual is left to :func:`key_authenticate`, which says and notes more of it.
    """
    found = found_key(rows, may_ask=False)
    if found is None or found.why_dead or found.pepper != pepper_id():
        return False
    _remember(token, _Cached(found.context, version, time.monotonic() + _CACHE_SECONDS, found.ends))
    return True


def _remember(token: str, found: _Cached) -> None:
    if len(_cache) >= _CACHE_SIZE:
        with _lock:
            _cache.clear()
    _cache[token] = found


def _refuse_address(context: KeyContext, ip: str | None) -> None:
    with org_scope(context.org_id):
        _note_rejection(context.key_id, context.org_id, "address", ip)
    raise PermissionDenied("This API key may not be used from this address", code="ip_not_allowed")


def _holds(found: _Cached, version: int) -> bool:
    return found.version == version and (found.expires_at is None or found.expires_at > now())


def _current_version(moment: float) -> int:
    """The version of what keys depend on, as of 0.4 seconds ago at most."""
    checked_at, version = _version
    age = moment - checked_at
    if age >= _VERSION_SECONDS:
        return _look_at_version()
    if age >= _VERSION_SECONDS / 2:
        meanwhile("keys", _look_at_version)
    return version


def _look_at_version() -> int:
    global _version
    # Of the moment before the look: what it finds is at least that young.
    moment = time.monotonic()
    with connection.cursor() as cursor:
        cursor.execute("SELECT version FROM projects_key_version")
        version: int = cursor.fetchone()[0]
    with _lock:
        if moment > _version[0]:
            _version = (moment, version)
    return version


def forget_keys() -> None:
    """Empty this process's cache of keys, so that a change made here is seen here at once."""
    global _version
    _cache.clear()
    _refused.clear()
    _version = (0.0, -1)


def _look_up(token: str, prefix: str, version: int, moment: float, ip: str | None) -> _Cached:
    # The version was read before the key is: a change in between makes this entry void at the next look.
    refused = _Cached(None, version, moment + _REFUSED_SECONDS)
    digests = token_digests(token, KEY_PURPOSE) if is_well_formed(token) else []
    found = find_key(digests) if digests else None
    if found is None:
        # A slip in a key that exists; a guess would not meet the prefix of one.
        with system_scope("a key says which organisation it is of"):
            if meant := ApiKey.objects.filter(prefix=prefix).first():
                _note_rejection(meant.pk, meant.org_id, "mistyped", ip)
        return refused
    if found.why_dead:
        with org_scope(found.context.org_id):
            _note_rejection(found.context.key_id, found.context.org_id, found.why_dead, ip)
        return refused
    keep_under_current_pepper(found, digests[0])
    return _Cached(found.context, version, moment + _CACHE_SECONDS, found.ends)


def _note_use(context: KeyContext, moment: float, ip: str | None, user_agent: str) -> None:
    """Write the last use, at most once a minute for each key; processes that find it written leave it."""
    if moment - _last_used.get(context.key_id, -_LAST_USED_EVERY) < _LAST_USED_EVERY:
        return
    _last_used[context.key_id] = moment
    note_use(context.key_id, ip, user_agent, every=_LAST_USED_EVERY)


def _note_rejection(key_id: UUID, org_id: UUID, reason: str, ip: str | None) -> None:
    """Count a refused key, at most once in 0.8 seconds for each key and process."""
    moment = time.monotonic()
    if moment - _refused.get(key_id, -_REFUSED_SECONDS) < _REFUSED_SECONDS:
        return
    if len(_refused) >= _CACHE_SIZE:
        _refused.clear()
    _refused[key_id] = moment
    with transaction.atomic():
        changed = RejectedKey.objects.filter(key_id=key_id).update(
            reason=reason, count=F("count") + 1, last_at=now(), last_ip=ip
        )
        if not changed:
            RejectedKey.objects.bulk_create(
                [RejectedKey(org_id=org_id, key_id=key_id, reason=reason, count=1, last_ip=ip)], ignore_conflicts=True
            )
    with bind(actor=replace(ANONYMOUS, ip=ip)):
        record_refusal(
            action="key.refused", org_id=org_id, target_type="api_key", target_id=key_id, key=reason, reason=reason
        )


# ---------------------------------------------------------------- projects
# In the order of ProjectInfo's fields.
_PROJECT = (
    "SELECT id, org_id, name, slug, team_id, archived_at, created_at, updated_at"
    " FROM projects_project WHERE id = %s AND org_id = %s"
)


def project_info(project: Project) -> ProjectInfo:
    """The contract of a row."""
    return ProjectInfo(
        id=project.pk,
        org_id=project.org_id,
        name=project.name,
        slug=project.slug,
        team_id=project.team_id,
        archived_at=project.archived_at,
        created_at=project.created_at,
        updated_at=project.updated_at,
    )


def project_list(org_id: UUID, *, archived: bool = False) -> QuerySet[Project]:
    """The projects of an organisation (rows, for this app's own views); ``archived`` adds the archived ones."""
    with org_scope(org_id):
        rows: QuerySet[Project] = Project.objects.all()
    return rows if archived else rows.filter(archived_at__isnull=True)


def project_get(*, org_id: UUID, project_id: UUID) -> ProjectInfo:
    """A project of the organisation; :class:`NotFound` otherwise."""
    # The bare statement: nearly every request that names a project asks.
    with connection.cursor() as cursor:
        cursor.execute(_PROJECT, [project_id, org_id])
        row = cursor.fetchone()
    if row is None:
        raise NotFound()
    return ProjectInfo(*row)


def project_names(org_id: UUID) -> dict[UUID, str]:
    """Names of all projects of an organisation, archived ones too."""
    return dict(project_list(org_id, archived=True).values_list("id", "name"))


def org_of_project(project_id: UUID) -> UUID | None:
    """Which organisation a project belongs to: what a path ``/projects/{id}`` means before anybody's right is known."""
    # No scope, since a path names a project without its organisation; the bare statement, since every request asks.
    with connection.cursor() as cursor:
        cursor.execute("SELECT org_id FROM projects_project WHERE id = %s", [project_id])
        found: tuple[UUID] | None = cursor.fetchone()
    return found[0] if found else None


# ---------------------------------------------------------------- keys
def key_info(key: ApiKey) -> ApiKeyInfo:
    """The contract of a row."""
    return ApiKeyInfo(
        id=key.pk,
        org_id=key.org_id,
        project_id=key.project_id,
        name=key.name,
        prefix=key.prefix,
        scopes=tuple(key.scopes),
        owner_id=key.owner_id,
        team_id=key.team_id,
        created_at=key.created_at,
        expires_at=key.expires_at,
        revoked_at=key.revoked_at,
        last_used_at=key.last_used_at,
        rate_limit_per_minute=key.rate_limit_per_minute,
        environment=key.environment,
        allowed_ips=tuple(key.allowed_ips),
        last_used_ip=key.last_used_ip,
        last_used_agent=key.last_used_agent,
        created_by_id=key.created_by_id,
        replaced_by_id=key.replaced_by_id,
        leaked_at=key.leaked_at,
        version=f"{key.updated_at.timestamp():.6f}",
    )


def key_list(*, org_id: UUID, project_id: UUID | None = None) -> QuerySet[ApiKey]:
    """The keys of an organisation or of one project (rows, for this app's own views)."""
    with org_scope(org_id):
        rows: QuerySet[ApiKey] = ApiKey.objects.select_related("project")
    return rows if project_id is None else rows.filter(project_id=project_id)


def key_of_token(token: str) -> ApiKeyInfo | None:
    """The key that a token is of, dead or alive; it authenticates nobody and counts as no use."""
    if not is_well_formed(token):
        return None
    with system_scope("a key says which organisation it is of"):
        found = ApiKey.objects.filter(digest__in=token_digests(token, KEY_PURPOSE)).first()
    return key_info(found) if found else None


def key_get(*, org_id: UUID, project_id: UUID, key_id: UUID) -> ApiKeyInfo:
    """A key of a project; :class:`NotFound` otherwise."""
    found = key_list(org_id=org_id, project_id=project_id).filter(pk=key_id).first()
    if found is None:
        raise NotFound()
    return key_info(found)


def key_names(org_id: UUID) -> dict[UUID, str]:
    """Names of all keys of an organisation."""
    return dict(key_list(org_id=org_id).values_list("id", "name"))


def key_rejections(org_id: UUID, *, ids: Iterable[UUID] | None = None) -> dict[UUID, tuple[str, int]]:
    """Keys that somebody uses in vain: key id → (why: revoked, expired, …, mistyped; how often it was seen)."""
    with org_scope(org_id):
        rows = RejectedKey.objects.all()
        if ids is not None:
            rows = rows.filter(key_id__in=list(ids))
        return {row.key_id: (row.reason, row.count) for row in rows}
