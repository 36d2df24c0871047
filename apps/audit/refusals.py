"""What happens too often to be told each time: refusals, and reads of what is sensitive.

The first of a kind is recorded at once. While its window runs, others of the same kind are only counted, in Redis, and
told in one entry when the window ends (``repeated``: how many more there were). The hot path costs one round trip and
takes no lock; kinds are at most :data:`MOST` at a time, beyond which only the count of all is kept. Without Redis each
process tells the first of each kind itself and counts nothing.
"""

import hashlib
import logging
import time
from collections.abc import Mapping
from dataclasses import asdict
from functools import lru_cache
from typing import Any
from uuid import UUID

import orjson
import psycopg
import redis
from django.conf import settings
from django.db import DatabaseError, transaction
from redis.backoff import NoBackoff
from redis.retry import Retry

from apps.core.context import bind, current
from apps.core.contracts import Actor
from apps.core.crypto import DecryptionError, decrypt, encrypt
from apps.core.errors import MindWeaveError
from apps.core.redis_away import REDIS
from apps.core.tenancy import system_scope

__all__ = ["forget_seen", "note_refusal", "record_read", "record_refusal", "tell_repeated"]

logger = logging.getLogger(__name__)

REFUSAL_WINDOW, READ_WINDOW = 300, 3600
MOST = 20_000
_DUE, _HELD = "mw:audit:due", "mw:audit:held"
_TOLD_AT_ONCE = 200
_TIMEOUT = 0.2

# KEYS: due, held; ARGV: kind, end of its window, most, what to tell. 1 where it is the first of its kind, 2 where there
# are too many kinds, else the end of the window of the kind.
_COUNT = """
if redis.call('HINCRBY', KEYS[2], 'n:' .. ARGV[1], 1) > 1 then return redis.call('ZSCORE', KEYS[1], ARGV[1]) end
if redis.call('ZCARD', KEYS[1]) >= tonumber(ARGV[3]) then
  redis.call('HDEL', KEYS[2], 'n:' .. ARGV[1])
  return 2
end
redis.call('ZADD', KEYS[1], ARGV[2], ARGV[1])
redis.call('HSET', KEYS[2], 'w:' .. ARGV[1], ARGV[4])
return 1
"""
# What came last before the window ended is told with the rest: taken out and counted in one step.
_TAKE = """
local due = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', ARGV[1], 'LIMIT', 0, tonumber(ARGV[2]))
local found = {}
for _, kind in ipairs(due) do
  found[#found + 1] = redis.call('HGET', KEYS[2], 'n:' .. kind) or '0'
  found[#found + 1] = redis.call('HGET', KEYS[2], 'w:' .. kind) or ''
  redis.call('HDEL', KEYS[2], 'n:' .. kind, 'w:' .. kind)
  redis.call('ZREM', KEYS[1], kind)
end
return found
"""


def record_refusal(
    *,
    action: str,
    org_id: UUID | None,
    target_type: str,
    target_id: str | UUID,
    target_label: str = "",
    key: str = "",
    reason: str = "",
    after: Mapping[str, Any] | None = None,
) -> bool:
    """Record that something was refused to whoever acts now; whether it was told at once, rather than counted.

    Of one kind are refusals of the same action to the same actor (by id, else by address) on the same target, with the
    same ``key``. Never raises for want of a database or of Redis: a refusal must be answered whatever else fails.
    """
    return _tell(
        REFUSAL_WINDOW, action, org_id, target_type, str(target_id), target_label, key, reason, dict(after or {})
    )


def record_read(*, what: str, org_id: UUID | None, target_id: str | UUID = "", key: str = "") -> bool:
    """Record that whoever acts now read something sensitive, at most once an hour for each person and thing."""
    if current().actor.kind == "system":
        return False
    return _tell(READ_WINDOW, "data.read", org_id, "data", str(target_id) or what, what, key, "", {})


def _tell(
    window: int, action: str, org_id: UUID | None, target_type: str, target_id: str, target_label: str, key: str,
    reason: str, after: dict[str, Any],
) -> bool:  # fmt: skip
    actor = current().actor
    kind = _kind(action, org_id, actor.id or actor.ip, actor.impersonator_id, target_type, target_id, key)
    told = {
        "action": action,
        "org_id": org_id,
        "target_type": target_type,
        "target_id": target_id,
        "target_label": target_label,
        "reason": reason,
        "after": after,
    }
    if not _is_first(kind, window, told, actor):
        return False
    _record(told, actor)
    return True


def _kind(*parts: Any) -> str:
    return hashlib.blake2b("\x00".join(map(str, parts)).encode(), digest_size=16).hexdigest()


def _record(told: Mapping[str, Any], actor: Actor) -> None:
    from apps.audit import services

    try:
        with transaction.atomic(), bind(actor=actor), system_scope("an entry of the trail says itself whose it is"):
            services.record(**told)
    except (DatabaseError, psycopg.Error):
        logger.exception("audit_refusal_lost", extra={"action": told["action"]})


# ---------------------------------------------------------------- what the views refuse
# Not refusals of who may do what: the caller is asked for more, and comes again.
_ASKS = frozenset({"mfa_required", "step_up_required", "csrf_failed", "password_expired"})


def note_refusal(*, error: MindWeaveError, method: str, route: str, org_id: UUID | None) -> None:
    """Fills ``core.ports.refusals``: what somebody was denied (403), and whose organisation they looked for (404).

    An organisation does not learn who of another one tried: that stands among what belongs to none, for staff.
    """
    if error.foreign_org is not None:
        record_refusal(
            action="access.refused_foreign", org_id=None, target_type="organization", target_id=error.foreign_org,
            key=f"{method} {route}", after={"route": f"{method} {route}"},
        )  # fmt: skip
    elif error.status == 403 and error.code not in _ASKS:
        actor = current().actor
        capability = error.extra.get("capability")
        record_refusal(
            action="access.refused", org_id=org_id or actor.org_id, target_type="route", target_id=f"{method} {route}",
            key=error.code, reason=error.detail,
            after={"code": error.code, **({"capability": capability} if capability else {})},
        )  # fmt: skip


# ---------------------------------------------------------------- counting
_seen: dict[str, float] = {}


@lru_cache(maxsize=4)
def _client(url: str) -> "redis.Redis":
    return redis.Redis.from_url(
        url, socket_timeout=_TIMEOUT, socket_connect_timeout=_TIMEOUT, retry=Retry(NoBackoff(), 0)
    )


def _is_first(kind: str, window: int, told: Mapping[str, Any], actor: Actor) -> bool:
    """Count one of its kind; whether it is the first. What is kept of it meanwhile is encrypted."""
    # Sealed again and again in vain where it is not the first: what is not seen in this process may well be.
    moment = time.time()
    if _seen.get(kind, 0) > moment:
        words = b""
    else:
        words = encrypt(orjson.dumps({"told": told, "actor": _plain(actor), "since": moment}, default=str))
    client = _client(settings.RATE_LIMIT_REDIS_URL)
    try:
        with REDIS.asking():
            answer = client.eval(_COUNT, 2, _DUE, _HELD, kind, moment + window, MOST, words)
    except redis.RedisError:
        if _seen.get(kind, 0) > moment:
            return False
        answer = 1
    if answer == 2:
        logger.warning("audit_refusals_overflow", extra={"action": told["action"]})
        return False
    _remember(kind, moment + window if answer == 1 or answer is None else float(answer))
    return bool(answer == 1)


def _remember(kind: str, until: float) -> None:
    if len(_seen) >= MOST:
        _seen.clear()
    _seen[kind] = until


def forget_seen() -> None:
    """Empty this process's memory of what was told; for tests."""
    _seen.clear()


def _plain(actor: Actor) -> dict[str, Any]:
    return {**asdict(actor), "scopes": sorted(actor.scopes)}


def tell_repeated(*, at: float | None = None) -> int:
    """Record what was counted in the windows that have ended; returns how many entries were written."""
    try:
        with REDIS.asking():
            found: Any = _client(settings.RATE_LIMIT_REDIS_URL).eval(
                _TAKE, 2, _DUE, _HELD, time.time() if at is None else at, _TOLD_AT_ONCE
            )
    except redis.RedisError:
        return 0
    told = 0
    for count, words in zip(found[::2], found[1::2], strict=True):
        repeated = int(count) - 1
        if repeated < 1 or not words:
            continue
        try:
            held = orjson.loads(decrypt(bytes(words)))
        except DecryptionError:
            continue
        _record(_repeated(held, repeated), _actor(held["actor"]))
        told += 1
    return told


def _repeated(held: dict[str, Any], repeated: int) -> dict[str, Any]:
    told: dict[str, Any] = held["told"]
    org_id = UUID(told["org_id"]) if told["org_id"] else None
    return {**told, "org_id": org_id, "after": {**told["after"], "repeated": repeated}}


def _actor(plain: dict[str, Any]) -> Actor:
    ids = {
        name: UUID(plain[name]) if plain[name] else None for name in ("id", "org_id", "session_id", "impersonator_id")
    }
    return Actor(**{**plain, **ids, "scopes": frozenset(plain["scopes"])})
