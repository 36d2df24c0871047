"""Rate limits: GCRA in Redis, one round trip for all that a request counts against, decided by Redis's own clock.

The generic cell rate algorithm keeps one number a limit: the time at which the bucket would be empty again. A limit of
``n`` in ``window`` seconds lets a burst of ``n`` pass and refills evenly.

**Fails open**: without Redis nothing is limited (``mindweave_ratelimit_unlimited_total`` counts what passes). One use a
second finds out whether it is back, within a tenth of a second, so that an outage costs requests nothing
(:mod:`apps.core.redis_away`).
"""

import hashlib
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import redis
import redis.exceptions
from django.conf import settings
from prometheus_client import Counter
from redis.backoff import NoBackoff
from redis.retry import Retry

from apps.core.errors import RateLimited
from apps.core.redis_away import REDIS

__all__ = [
    "Counted",
    "Limit",
    "RateResult",
    "Use",
    "check",
    "check_all",
    "enforce",
    "give_back",
    "give_back_all",
    "refusal_of",
]

UNLIMITED = Counter("mindweave_ratelimit_unlimited", "Uses that were let through uncounted, Redis being away")

_TIMEOUT = 0.1

# KEYS the buckets; ARGV of each: limit, window in ms, cost. Returns for each {allowed, remaining, ms to a full bucket,
# ms to wait}; the first that refuses is the last.
_GCRA = """
local now = redis.call('TIME')
now = now[1] * 1000 + math.floor(now[2] / 1000)
local found = {}
for i = 1, #KEYS do
  local limit, window, cost = tonumber(ARGV[3 * i - 2]), tonumber(ARGV[3 * i - 1]), tonumber(ARGV[3 * i])
  local interval = window / limit
  local tat = tonumber(redis.call('GET', KEYS[i]) or now)
  if tat < now then tat = now end
  local new = math.max(now, tat + interval * cost)
  local room = now + window - new
  if room < -0.5 then
    found[i] = {0, math.max(0, math.floor((now + window - tat) / interval)), math.ceil(tat - now), math.ceil(-room)}
    return found
  end
  redis.call('SET', KEYS[i], string.format('%.3f', new), 'PX', math.ceil(new - now) + 1000)
  found[i] = {1, math.floor(room / interval), math.ceil(new - now), 0}
end
return found
"""
_DIGEST = hashlib.sha1(_GCRA.encode(), usedforsecurity=False).hexdigest()


@dataclass(frozen=True, slots=True)
class Limit:
    """``limit`` uses in ``window`` seconds; ``name`` is what the headers call it."""

    name: str
    limit: int
    window: int


@dataclass(frozen=True, slots=True)
class RateResult:
    """The answer for one use. ``reset`` and ``retry_after`` are in seconds, rounded up."""

    limit: Limit
    allowed: bool
    remaining: int
    reset: int
    retry_after: int
    unknown: bool = False

    def headers(self) -> Mapping[str, str]:
        """``RateLimit`` and ``RateLimit-Policy`` as the IETF draft (ratelimit-headers) has them."""
        name = self.limit.name
        headers = {"RateLimit-Policy": f'"{name}";q={self.limit.limit};w={self.limit.window}'}
        if not self.unknown:
            headers["RateLimit"] = f'"{name}";r={self.remaining};t={self.reset}'
        return headers


@dataclass(slots=True)
class Counted:
    """A use that somebody else counts along with their own, in one round trip, and what it came to."""

    limit: Limit
    identity: str
    result: RateResult | None = None


_state = threading.local()

# A limit, whose use counts against it, and how much.
Use = tuple[Limit, str, int]


def _connection() -> Any:
    """This thread's connection. Not the client: what it does around a command costs several times the command."""
    connection = getattr(_state, "connection", None)
    if connection is None or _state.url != settings.RATE_LIMIT_REDIS_URL:
        pool = redis.ConnectionPool.from_url(
            settings.RATE_LIMIT_REDIS_URL,
            socket_timeout=_TIMEOUT,
            socket_connect_timeout=_TIMEOUT,
            retry=Retry(NoBackoff(), 0),
        )
        _state.url = settings.RATE_LIMIT_REDIS_URL
        _state.connection = connection = pool.make_connection()
    return connection


def _bucket(limit: Limit, identity: str) -> str:
    # Identities can be addresses or e-mails: Redis holds only their digests.
    digest = hashlib.blake2b(f"{limit.name}\x00{identity}".encode(), digest_size=16).hexdigest()
    return f"mw:rl:{digest}"


def _run(keys: list[str], arguments: list[int]) -> list[list[int]]:
    connection = _connection()
    try:
        _read_owed(connection)
        try:
            connection.send_command("EVALSHA", _DIGEST, len(keys), *keys, *arguments)
            found: list[list[int]] = connection.read_response()
        except redis.exceptions.NoScriptError:
            connection.send_command("EVAL", _GCRA, len(keys), *keys, *arguments)
            found = connection.read_response()
    except redis.ConnectionError:
        # Redis was started again since the last use, most likely: a new connection tells.
        _disconnect(connection)
        connection.send_command("EVAL", _GCRA, len(keys), *keys, *arguments)
        found = connection.read_response()
    return found


def _read_owed(connection: Any) -> None:
    """Read what Redis answered to commands whose answer nobody waited for."""
    owed, _state.owed = getattr(_state, "owed", 0), 0
    for _ in range(owed):
        with suppress(redis.exceptions.ResponseError):
            connection.read_response()


def _disconnect(connection: Any) -> None:
    _state.owed = 0
    connection.disconnect()


def check_all(uses: Sequence[Use]) -> list[RateResult]:
    """:func:`check` of several, in one round trip; those after the first that refuses are neither used nor told of."""
    if REDIS.may_ask():
        arguments = [number for limit, _, cost in uses for number in (limit.limit, limit.window * 1000, cost)]
        try:
            found = _run([_bucket(limit, identity) for limit, identity, _ in uses], arguments)
        except (redis.RedisError, OSError) as error:
            _disconnect(_connection())
            REDIS.failed(error)
        else:
            REDIS.answered()
            return [
                RateResult(use[0], bool(allowed), int(remaining), -(-int(reset) // 1000), -(-int(wait) // 1000))
                for use, (allowed, remaining, reset, wait) in zip(uses, found, strict=False)
            ]
    UNLIMITED.inc(len(uses))
    return [RateResult(limit, True, limit.limit, 0, 0, unknown=True) for limit, _, _ in uses]


def check(limit: Limit, identity: str, *, cost: int = 1) -> RateResult:
    """Use ``cost`` of the limit of ``identity``; allowed where Redis is away."""
    return check_all([(limit, identity, cost)])[0]


def enforce(limit: Limit, identity: str, *, detail: str = "", cost: int = 1) -> RateResult:
    """:func:`check`, raising :class:`RateLimited` with the headers where it is used up."""
    result = check(limit, identity, cost=cost)
    if not result.allowed:
        raise refusal_of(result, detail)
    return result


def refusal_of(result: RateResult, detail: str = "") -> RateLimited:
    """The error that says a limit is used up, with its headers."""
    limit = result.limit
    return RateLimited(
        detail or f"More than {limit.limit} in {limit.window} seconds; try again in {result.retry_after}",
        retry_after=result.retry_after,
        headers=result.headers(),
    )


def give_back(limit: Limit, identity: str) -> None:
    """Undo one :func:`enforce`: for limits that only failures count against, where whether it fails is known later."""
    give_back_all([(limit, identity, 1)])


def give_back_all(uses: Sequence[Use]) -> None:
    """:func:`give_back` of several. Nobody waits for Redis: its answer is read before this thread's next question.

    What is said later to Redis, by whichever thread, counts after it only where that is one of this thread. Where it
    is lost, with Redis or with the connection, the uses stay counted until their time is over.
    """
    if not REDIS.may_ask():
        return
    connection = _connection()
    keys = [_bucket(limit, identity) for limit, identity, _ in uses]
    arguments = [number for limit, _, cost in uses for number in (limit.limit, limit.window * 1000, -cost)]
    try:
        connection.send_command("EVALSHA", _DIGEST, len(keys), *keys, *arguments)
        _state.owed = getattr(_state, "owed", 0) + 1
    except (redis.RedisError, OSError) as error:
        _disconnect(connection)
        REDIS.failed(error)
