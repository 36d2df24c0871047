"""Celery tasks that carry their context: correlation id, trace, actor's name and organisation.

A task is three lines (load, call a service, done), idempotent, and sent once the transaction that wants it commits::

    @background_task(name="notify.deliver")
    def deliver(email_id: str) -> None:
        services.deliver_email(email_id=UUID(email_id))

    enqueue(deliver, email_id=str(email.pk))
"""

import functools
import logging
import os
from collections.abc import Callable
from contextlib import ExitStack
from functools import lru_cache
from typing import Any, Final
from uuid import UUID

from celery import Task, current_app, shared_task
from django.db import connection, transaction
from kombu import pools
from kombu.exceptions import OperationalError
from opentelemetry.trace import SpanKind

from apps.core.context import bind, current
from apps.core.contracts import system_actor
from apps.core.redis_away import BROKER
from apps.core.telemetry import span
from apps.core.tenancy import current_org_id, org_scope, system_scope

__all__ = ["HEADER", "BackgroundTask", "background_task", "enqueue"]

logger = logging.getLogger(__name__)

HEADER = "mindweave"
# The workers' connections are patient; whoever sends a task has somebody waiting. With these, a broker that is silent
# is given up after a second or two, one that is gone at once.
_IMPATIENT: Final = {
    "socket_timeout": 1.0, "socket_connect_timeout": 1.0,
    "max_retries": 1, "interval_start": 0, "interval_step": 0, "interval_max": 0,
}  # fmt: skip


class BackgroundTask(Task):  # type: ignore[type-arg]
    """The base of every task. It runs in the scope of the organisation it was sent from, else outside any scope, where
    the rows of organisations cannot be reached: a task that crosses them names its reason with ``system=``.
    """

    system: str = ""

    def apply_async(self, args: Any = None, kwargs: Any = None, **options: Any) -> Any:  # type: ignore[override]
        """Send the task with its context. Refused inside a transaction: the worker could be faster than the commit."""
        if connection.in_atomic_block and not self.request.id:
            raise RuntimeError(f"{self.name} is sent inside a transaction; use enqueue(), which waits for its commit")
        headers = {**(options.pop("headers", None) or {})}
        headers.setdefault(HEADER, _carried())
        return super().apply_async(args, kwargs, headers=headers, **options)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        carried = getattr(self.request, HEADER, None) or (self.request.headers or {}).get(HEADER) or {}
        with ExitStack() as stack:
            context = {name: carried[name] for name in ("correlation_id", "traceparent") if carried.get(name)}
            stack.enter_context(bind(actor=system_actor(f"task:{self.name}"), **context))
            if carried.get("org_id"):
                stack.enter_context(org_scope(UUID(carried["org_id"])))
            elif self.system:
                stack.enter_context(system_scope(self.system))
            stack.enter_context(span(f"task {self.name}", kind=SpanKind.CONSUMER))
            return super().__call__(*args, **kwargs)


def background_task(*, name: str, system: str = "", **options: Any) -> Callable[[Callable[..., Any]], BackgroundTask]:
    """Declare a task. ``system`` is the reason why it works across organisations, where it does; the other options are
    Celery's.
    """
    decorate: Callable[[Callable[..., Any]], BackgroundTask] = shared_task(
        name=name, base=BackgroundTask, system=system, **options
    )
    return decorate


def enqueue(task: BackgroundTask, *, countdown: float = 0, queue: str | None = None, **kwargs: Any) -> None:
    """Send ``task`` once the present transaction commits, at once outside one; ``countdown`` is in seconds.

    Best effort: with the broker away the caller's work stands and the failure is logged, within two seconds, and for a
    second the next are not tried. What must not be forgotten is therefore kept as a row that a job sweeps up.
    """
    carried = _carried()
    send = functools.partial(_send, task, kwargs, carried, countdown, queue)
    transaction.on_commit(send, robust=True)


def _send(
    task: BackgroundTask, kwargs: dict[str, Any], carried: dict[str, str], countdown: float, queue: str | None
) -> None:
    if not BROKER.may_ask():
        logger.warning("task %s is not sent: the broker did not answer a moment ago", task.name)
        return
    try:
        with _producers(os.getpid()).acquire(block=True) as producer:
            task.apply_async(
                kwargs=kwargs, headers={HEADER: carried}, countdown=countdown or None, queue=queue, retry=False,
                producer=producer,
            )  # fmt: skip
    except (OperationalError, OSError) as error:
        BROKER.failed(error)
        logger.warning("task %s could not be sent: %s", task.name, error)
    else:
        BROKER.answered()


@lru_cache(maxsize=1)
def _producers(process: int) -> Any:
    """Of this process: a fork has connections of its own."""
    options = {**current_app.conf.broker_transport_options, **_IMPATIENT}
    return pools.producers[current_app.connection_for_write(transport_options=options)]


def _carried() -> dict[str, str]:
    context, org_id = current(), current_org_id()
    values = {
        "correlation_id": context.correlation_id,
        "traceparent": context.traceparent,
        "org_id": str(org_id) if org_id else None,
    }
    return {name: value for name, value in values.items() if value}
