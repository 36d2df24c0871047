"""What each worker process of a server does first."""

import gc
import os

__all__ = ["begin"]


def begin() -> None:
    """Die with the server where a supervisor watches, and let the collector run rarely.

    The ingest path makes many objects and few cycles: the default thresholds would spend a tenth of its time looking.
    """
    if os.environ.get("MINDWEAVE_SUPERVISED"):
        from apps.core.dev.privileges import die_with_parent

        die_with_parent()
    gc.set_threshold(50_000, 20, 50)
