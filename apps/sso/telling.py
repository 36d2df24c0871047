"""How writes of single sign-on tell of themselves, and in whose name a provider acts."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any
from uuid import UUID

from apps.audit.services import record
from apps.core.context import bind, current
from apps.events.services import publish
from apps.sso.models import Connection, Domain

__all__ = ["acting_as", "tell", "tell_connection", "tell_domain"]


def tell(
    action: str, *, org_id: UUID, target: str, target_id: UUID, label: str, data: dict[str, Any], **details: Any
) -> None:
    """Record an act and publish it under the same name."""
    record(action=action, org_id=org_id, target_type=target, target_id=target_id, target_label=label, **details)
    publish(type=action, org_id=org_id, data=data)


def tell_connection(connection: Connection, action: str, *, data: dict[str, Any] | None = None, **details: Any) -> None:
    """:func:`tell` of a connection."""
    known = {"connection_id": str(connection.pk), "name": connection.name}
    tell(
        action, org_id=connection.org_id, target="sso_connection", target_id=connection.pk, label=connection.name,
        data={**known, **(data or {})}, **details,
    )  # fmt: skip


def tell_domain(domain: Domain, action: str, **details: Any) -> None:
    """:func:`tell` of a domain."""
    tell(
        action, org_id=domain.org_id, target="sso_domain", target_id=domain.pk, label=domain.name,
        data={"domain_id": str(domain.pk), "name": domain.name}, **details,
    )  # fmt: skip


@contextmanager
def acting_as(connection: Connection) -> Iterator[None]:
    """Everything inside is the connection's doing: what a provider says of somebody is no act of theirs."""
    actor = replace(
        current().actor, kind="system", id=connection.pk, label=f"Single sign-on: {connection.name}", session_id=None
    )
    with bind(actor=actor):
        yield
