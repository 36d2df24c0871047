"""Django's cache in Redis, which without Redis remembers nothing instead of failing."""

from collections.abc import Callable
from typing import Any

import redis
from django.core.cache.backends.redis import RedisCache, RedisCacheClient

from apps.core.redis_away import REDIS

__all__ = ["Cache"]


class _Client(RedisCacheClient):
    """Answers as an empty cache would while Redis is away (:mod:`apps.core.redis_away`)."""

    def get(self, key: Any, default: Any) -> Any:
        return _asked(lambda: super(_Client, self).get(key, default), default)

    def get_many(self, keys: Any) -> Any:
        return _asked(lambda: super(_Client, self).get_many(keys), {})

    def has_key(self, key: Any) -> Any:
        return _asked(lambda: super(_Client, self).has_key(key), False)

    def add(self, key: Any, value: Any, timeout: Any) -> Any:
        return _asked(lambda: super(_Client, self).add(key, value, timeout), True)

    def set(self, key: Any, value: Any, timeout: Any) -> None:
        _asked(lambda: super(_Client, self).set(key, value, timeout), None)

    def set_many(self, data: Any, timeout: Any) -> None:
        _asked(lambda: super(_Client, self).set_many(data, timeout), None)

    def touch(self, key: Any, timeout: Any) -> Any:
        return _asked(lambda: super(_Client, self).touch(key, timeout), False)

    def delete(self, key: Any) -> Any:
        return _asked(lambda: super(_Client, self).delete(key), False)

    def delete_many(self, keys: Any) -> None:
        _asked(lambda: super(_Client, self).delete_many(keys), None)

    def clear(self) -> Any:
        return _asked(lambda: super(_Client, self).clear(), False)


class Cache(RedisCache):
    """``incr`` alone raises where Redis is away: whoever counts has to know."""

    def __init__(self, server: Any, params: dict[str, Any]) -> None:
        super().__init__(server, params)
        self._class = _Client


def _asked(ask: Callable[[], Any], otherwise: Any) -> Any:
    try:
        with REDIS.asking():
            return ask()
    except (redis.RedisError, OSError):
        return otherwise
