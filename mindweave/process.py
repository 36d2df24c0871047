"""What each worker process of a server does first."""

import gc
import os
import socket
import sys

__all__ = ["begin", "name_processes_of_metrics", "settle"]


def begin() -> None:
    """Die with the server where a supervisor watches, and let the collector run rarely.

    The ingest path makes many objects and few cycles: the default thresholds would spend a tenth of its time looking.
    """
    if os.environ.get("MINDWEAVE_SUPERVISED"):
        from apps.core.dev.privileges import die_with_parent

        die_with_parent()
    gc.set_threshold(50_000, 20, 50)
    # A thread that has its answer from the database waits at most so long for one that computes.
    sys.setswitchinterval(0.001)


def settle() -> None:
    """What is loaded now stays: the collector need not look through it while somebody waits."""
    gc.collect()
    gc.freeze()


def name_processes_of_metrics() -> None:
    """Name the files of prometheus_client by machine and process: containers share the directory, not their pids."""
    from prometheus_client import values

    machine = socket.gethostname().replace("_", "-")
    name = f"{machine}-{os.getpid()}"

    def forked() -> None:
        nonlocal name
        name = f"{machine}-{os.getpid()}"

    # It is asked for with every count, so it is not made each time.
    os.register_at_fork(after_in_child=forked)
    values.ValueClass = values.MultiProcessValue(lambda: name)  # type: ignore[no-untyped-call]
