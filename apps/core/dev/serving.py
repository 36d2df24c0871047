"""web and realtime: granian's workers, forked from what is loaded already.

Granian starts each worker as a new interpreter by default, which imports everything again and holds it for itself:
130 MB a worker. Forked they share what was loaded before, with each other and with all other processes of the instance.
"""

import multiprocessing
import os
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

from django.conf import settings

from apps.core import logging
from apps.core.dev.supervisor import Program

__all__ = ["intake_programs", "load", "realtime_program", "web_program", "web_workers"]

# By name, since the project stands above its applications.
_INTAKE = "mindweave.intake.server:serve"
_WEB, _REALTIME = "mindweave.wsgi:application", "mindweave.asgi:application"
_BEGIN, _SETTLE = "mindweave.process:begin", "mindweave.process:settle"
# Requests that each of them works on at a time.
_WEB_THREADS = 8


def load() -> None:
    """Import what children will need, for all of them to share; no thread, no connection."""
    from django.urls import get_resolver

    for module in ("celery.bin.celery", "celery.apps.worker", "celery.apps.beat", "django_celery_beat.schedulers"):
        import_module(module)
    for target in (_WEB, _REALTIME, _INTAKE):
        _loaded(target)
    _ = get_resolver().reverse_dict  # makes each module of routes, and so each view


def web_workers(cores: int) -> int:
    """How many processes of web ``cores`` processors are worth: one interpreter computes on one of them at a time."""
    return min(4, max(2, cores // 2)) if cores > 1 else 1


def web_program(path: Path, target: str = _WEB) -> Program:
    """What serves the API and the pages on the Unix socket ``path``; ``target`` is ``module:name``."""
    workers = web_workers(os.cpu_count() or 1)
    options = {"interface": "wsgi", "workers": workers, "blocking_threads": _WEB_THREADS, "backlog": 2048}
    return Program("web", function=lambda: _serve(path, target, options), grace=2.0, socket=path, prompt=True)


def intake_programs(run_dir: Path) -> list[Program]:
    """What takes events in: as many processes as web has, each on a Unix socket of its own."""
    return [
        _intake_program(f"intake-{number}", run_dir / f"intake-{number}.sock")
        for number in range(web_workers(os.cpu_count() or 1))
    ]


def _intake_program(name: str, path: Path) -> Program:
    return Program(name, function=lambda: _take_in(path), grace=2.0, socket=path, prompt=True)


def _take_in(path: Path) -> None:
    application = _worker(_WEB)
    _loaded(_INTAKE)(path, application)


def realtime_program(path: Path) -> Program:
    """What holds sockets and streams, on the Unix socket ``path``."""
    options = {"interface": "asginl"}
    return Program("realtime", function=lambda: _serve(path, _REALTIME, options), grace=2.0, socket=path, prompt=True)


def _serve(path: Path, target: str, options: dict[str, Any]) -> None:
    """Run granian's own supervisor of workers in this process, until it is told to end."""
    from granian.log import LogLevels
    from granian.server import Server

    os.environ["MINDWEAVE_SUPERVISED"] = "1"
    multiprocessing.set_start_method("fork", force=True)
    server = Server(
        target,
        uds=path,
        log_level=LogLevels.warning,
        workers_kill_timeout=1,
        respawn_failed_workers=True,
        **options,
    )
    server.serve(target_loader=_worker)


def _worker(target: str) -> Callable[..., Any]:
    """What granian calls first in each worker: the application, in a process that is ready for it."""
    _loaded(_BEGIN)()
    application = _loaded(target)
    # Granian has set up its own since ours was.
    logging.configure(level=settings.LOG_LEVEL, style=settings.LOG_FORMAT)
    _loaded(_SETTLE)()
    return application


def _loaded(target: str) -> Callable[..., Any]:
    module, _, name = target.partition(":")
    found: Callable[..., Any] = getattr(import_module(module), name)
    return found
