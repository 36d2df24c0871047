"""Celery tasks that carry their context: correlation id, trace, actor's name and organisation.

A task is three lines (load, call a service, done), idempotent, and sent once the transaction that wants it commits::

    @background_task(name="notify.deliver")
    def deliver(email_id: str) -> None:
        services.deliver_email(email_id=UUID(email_id))

    enqueue(deliver, email_id=str(email.pk))
"""

import functools
import logging
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any
from uuid import UUID

from celery import Task, shared_task
from django.db import connection, transaction
from kombu.exceptions import OperationalError
from opentelemetry.trace import SpanKind

from apps.core.context import bind, current
from apps.core.contracts import system_actor
from apps.core.telemetry import span
from apps.core.tenancy import current_org_id, org_scope, system_scope

__all__ = ["HEADER", "BackgroundTask", "background_task", "enqueue"]

logger = logging.getLogger(__name__)

HEADER = "mindweave"


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

    Best effort: with the broker away the caller's work stands and the failure is logged. What must not be forgotten is
    therefore kept as a row that a job sweeps up.
    """
    carried = _carried()
    send = functools.partial(_send, task, kwargs, carried, countdown, queue)
    transaction.on_commit(send, robust=True)


def _send(
    task: BackgroundTask, kwargs: dict[str, Any], carried: dict[str, str], countdown: float, queue: str | None
) -> None:
    try:
        task.apply_async(
            kwargs=kwargs, headers={HEADER: carried}, countdown=countdown or None, queue=queue, retry=False
        )
    except (OperationalError, OSError) as error:
        logger.warning("task %s could not be sent: %s", task.name, error)


def _carried() -> dict[str, str]:
    context, org_id = current(), current_org_id()
    values = {
        "correlation_id": context.correlation_id,
        "traceparent": context.traceparent,
        "org_id": str(org_id) if org_id else None,
    }
    return {name: value for name, value in values.items() if value}
