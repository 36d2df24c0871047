"""What the trail needs of higher apps."""

from typing import Protocol
from uuid import UUID

from apps.core.ports import Port

__all__ = ["ExportQueue", "export_queue"]


class ExportQueue(Protocol):
    """Who has a worker make a file of the trail (filled by the scheduler)."""

    def __call__(self, export_id: UUID) -> None:
        """Have ``services.make_export`` called soon, by another process."""


def _left_to_the_sweep(export_id: UUID) -> None:
    """Without a filler it waits for the job that takes up what no worker has."""


export_queue: Port[ExportQueue] = Port("audit.export_queue", _left_to_the_sweep)
