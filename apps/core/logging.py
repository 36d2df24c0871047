"""Structured logs: one line an event, with the correlation id and who acts; secrets never.

JSON in production, readable in development. The standard library's loggers pass through the same pipe.
"""

import logging
import re
import sys
from typing import Any

import kombu.exceptions
import redis
import structlog

from apps.core.context import current
from apps.core.tenancy import current_org_id

__all__ = ["configure"]

_SECRET = re.compile(r"(?i)(password|passwd|secret|token|api[_-]?key|authorization|cookie|private)")
_VALUES = re.compile(r"mw_[0-9A-Za-z]{6}[0-9A-Za-z]{32}|sk-ant-[0-9A-Za-z_-]{8,}|Bearer\s+[\w.~+/=-]{12,}")


def _add_context(logger: Any, method: str, event: dict[str, Any]) -> dict[str, Any]:
    context = current()
    event.setdefault("correlation_id", context.correlation_id)
    if context.actor.is_authenticated:
        event.setdefault("actor", f"{context.actor.kind}:{context.actor.id or context.actor.label}")
    if (org_id := current_org_id()) is not None:
        event.setdefault("org_id", str(org_id))
    return event


def _redact(logger: Any, method: str, event: dict[str, Any]) -> dict[str, Any]:
    return {
        name: "[redacted]" if _SECRET.search(name) and name != "event" else _clean(value)
        for name, value in event.items()
    }


def _clean(value: Any) -> Any:
    return _VALUES.sub("[redacted]", value) if isinstance(value, str) else value


# What these fail at again and again while Redis is away is no fault of the program: a line each says it. Whatever else
# they fail at keeps its traceback.
_BRIEF = frozenset({"celery.beat", "channels_redis.pubsub"})


def _is_of_redis(error: BaseException | None) -> bool:
    """Whether it is, or comes of, a connection that fails; the database's errors are of other classes."""
    while error is not None:
        if isinstance(error, redis.RedisError | kombu.exceptions.OperationalError | OSError):
            return True
        error = error.__cause__ or error.__context__
    return False


def _in_brief(record: logging.LogRecord) -> bool:
    error = record.exc_info[1] if record.name in _BRIEF and record.exc_info else None
    if error is not None and _is_of_redis(error):
        record.msg, record.args = f"Redis is away, most likely: {error}", ()
        record.exc_info = record.exc_text = None
    return True


def configure(*, level: str, style: str) -> None:
    """Set up logging for this process; ``style`` is ``json`` or ``console``."""
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _add_context,
        structlog.processors.StackInfoRenderer(),
        structlog.processors.format_exc_info,
        _redact,
    ]
    renderer: Any = (
        structlog.processors.JSONRenderer(default=str)
        if style == "json"
        else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.stdlib.PositionalArgumentsFormatter(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler()
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            # The name of a logger of the standard library is on the record, which is dropped only then.
            processors=[*shared, structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    handler.addFilter(_in_brief)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    logging.getLogger("django.request").setLevel(logging.ERROR)
    logging.getLogger("httpx").setLevel(logging.WARNING)
