"""Settings by environment: ``NAME``, or ``NAME_FILE`` with the path of a file that holds the value."""

import os
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from django.core.exceptions import ImproperlyConfigured

__all__ = ["celery_redis_url", "env_bool", "env_int", "env_list", "env_value", "redis_url"]


def env_value(name: str, default: str = "") -> str:
    """``NAME``, else the content of the file named by ``NAME_FILE`` (without the last newline), else ``default``."""
    if name in os.environ:
        return os.environ[name]
    path = os.environ.get(f"{name}_FILE")
    if not path:
        return default
    try:
        return Path(path).read_text(encoding="utf-8").rstrip("\r\n")
    except OSError as error:
        raise ImproperlyConfigured(f"{name}_FILE names {path!r}, which cannot be read: {error.strerror}") from error


def env_bool(name: str, default: bool) -> bool:
    """``true`` or ``false`` (also 1 and 0); anything else is refused by name."""
    raw = env_value(name, str(default)).strip().lower()
    if raw in {"true", "1"}:
        return True
    if raw in {"false", "0"}:
        return False
    raise ImproperlyConfigured(f"{name} must be true or false, not {raw!r}")


def env_int(name: str, default: int) -> int:
    """A whole number; anything else is refused by name."""
    raw = env_value(name, str(default))
    try:
        return int(raw)
    except ValueError as error:
        raise ImproperlyConfigured(f"{name} must be a whole number, not {raw!r}") from error


def env_list(name: str, default: str = "") -> list[str]:
    """Comma-separated words."""
    return [part.strip() for part in env_value(name, default).split(",") if part.strip()]


def redis_url(base: str, db: int) -> str:
    """``base`` (``redis://…``, ``rediss://…`` or ``unix:///path``) for one logical database."""
    parts = urlsplit(base)
    if parts.scheme == "unix":
        return f"unix://{parts.path}?db={db}"
    return urlunsplit((parts.scheme, parts.netloc, f"/{db}", parts.query, ""))


def celery_redis_url(base: str, db: int) -> str:
    """The same in Celery's spelling, which differs for Unix sockets."""
    parts = urlsplit(base)
    if parts.scheme == "unix":
        return f"redis+socket://{parts.path}?virtual_host={db}"
    return redis_url(base, db)
