"""What a process remembers between requests, and Redis for it, made as they are in the beginning."""

import os

import redis

__all__ = ["empty_redis", "forget_caches"]


def empty_redis() -> None:
    """No rate limit, cache or queue is left."""
    client = redis.Redis.from_url(os.environ["REDIS_URL"])
    try:
        client.flushall()
    except redis.RedisError:
        pass  # a test that took Redis away has not brought it back: there is nothing to empty
    finally:
        client.close()


def forget_caches() -> None:
    """Nor a key or a sign-in, which each process remembers for a moment."""
    from apps.audit.keys import forget_cached_keys
    from apps.audit.refusals import forget_seen
    from apps.audit.signing import forget_signing_keys as forget_sealing_keys
    from apps.core.redis_away import BROKER, REDIS
    from apps.identity.book import forget_sessions
    from apps.identity.jwt import forget_keys as forget_signing_keys
    from apps.projects.selectors import forget_keys

    forget_sessions()
    forget_signing_keys()
    forget_sealing_keys()
    forget_seen()
    forget_keys()
    forget_cached_keys()
    REDIS.forget()
    BROKER.forget()
