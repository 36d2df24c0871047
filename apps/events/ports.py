"""What the bus needs from apps above it."""

from typing import Any, Protocol
from uuid import UUID

from apps.core.ports import Port

__all__ = ["Audit", "audit"]


class Audit(Protocol):
    """The audit trail (filled by audit; the signature is that of ``audit.services.record``)."""

    def __call__(
        self,
        *,
        action: str,
        org_id: UUID | None,
        target_type: str,
        target_id: str | UUID,
        target_label: str = "",
        before: dict[str, Any] | None = None,
        after: dict[str, Any] | None = None,
        reason: str = "",
    ) -> object:
        """Record what staff did to the bus, in the caller's transaction."""


def _no_audit(**kwargs: Any) -> object:
    raise RuntimeError("nothing has filled the audit port: an act of staff would go unrecorded")


audit: Port[Audit] = Port("audit", _no_audit)
