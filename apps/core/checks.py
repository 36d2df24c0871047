"""System checks that name what is wrong with the settings and what to set. ``manage.py check`` runs them."""

from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning, register

__all__ = ["check_settings"]

_LONG = 32


@register()
def check_settings(app_configs: Any = None, **kwargs: Any) -> Sequence[CheckMessage]:
    """All of them; production is held to more than development."""
    found: list[CheckMessage] = []
    found += _addresses()
    found += _secrets()
    if not settings.DEVELOPMENT:
        found += _production()
    return found


def _addresses() -> list[CheckMessage]:
    found: list[CheckMessage] = []
    scheme = urlsplit(settings.DATABASE_URL).scheme
    if scheme not in {"postgres", "postgresql"} or not settings.DATABASES["default"].get("NAME"):
        found.append(
            Error(
                "DATABASE_URL is not a PostgreSQL address",
                hint="postgres://user:password@host:5432/name",
                id="mindweave.E001",
            )
        )
    parts = urlsplit(settings.REDIS_URL)
    if parts.scheme not in {"redis", "rediss", "unix"} or not (parts.netloc or parts.path):
        found.append(
            Error(
                "REDIS_URL is not a Redis address",
                hint="redis://host:6379, rediss://… or unix:///path",
                id="mindweave.E002",
            )
        )
    public = urlsplit(settings.PUBLIC_URL)
    if public.scheme not in {"http", "https"} or not public.netloc:
        found.append(
            Error(
                "MINDWEAVE_PUBLIC_URL is not an http(s) address",
                hint="https://mindweave.example.com",
                id="mindweave.E003",
            )
        )
    if not 1 <= settings.PORT <= 65535:
        found.append(Error(f"MINDWEAVE_PORT is {settings.PORT}", hint="from 1 to 65535", id="mindweave.E004"))
    return found


def _secrets() -> list[CheckMessage]:
    return [
        Error(f"{name} has an entry of fewer than {_LONG} characters", hint="random, 48 bytes or more", id=code)
        for name, code in (("FIELD_ENCRYPTION_KEYS", "mindweave.E010"), ("TOKEN_PEPPERS", "mindweave.E011"))
        if any(len(entry) < _LONG for entry in getattr(settings, name))
    ]  # fmt: skip


def _production() -> list[CheckMessage]:
    found: list[CheckMessage] = []
    if settings.DEBUG:
        found.append(Error("MINDWEAVE_DEBUG is on in production", hint="unset it", id="mindweave.E020"))
    if len(settings.SECRET_KEY) < _LONG or settings.SECRET_KEY.startswith("insecure-"):
        found.append(
            Error("SECRET_KEY is short or a known one", hint="a random string of 50 characters", id="mindweave.E021")
        )
    if "*" in settings.ALLOWED_HOSTS:
        found.append(Error("ALLOWED_HOSTS takes any host", hint="name the hosts that people use", id="mindweave.E022"))
    if settings.MINDWEAVE_DEV_MAILBOX:
        found.append(
            Error(
                "The development mailbox is open in production", hint="MINDWEAVE_DEV_MAILBOX=false", id="mindweave.E023"
            )
        )
    if not settings.FIELD_ENCRYPTION_KEYS or not settings.TOKEN_PEPPERS:
        found.append(
            Warning(
                "FIELD_ENCRYPTION_KEYS or TOKEN_PEPPERS are not set, so both derive from SECRET_KEY",
                hint="set them, so that each can be rotated by itself", id="mindweave.W024",
            )
        )  # fmt: skip
    if not settings.PUBLIC_URL.startswith("https://"):
        found.append(
            Warning(
                "MINDWEAVE_PUBLIC_URL is not https, so cookies are not marked secure",
                hint="serve by TLS",
                id="mindweave.W025",
            )
        )
    return found
