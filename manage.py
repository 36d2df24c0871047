#!/usr/bin/env python
"""Django's command line for MindWeave."""

import os
import sys


def main() -> None:
    if sys.version_info < (3, 11):  # noqa: UP036 - says so to whoever runs it with an older one
        sys.exit(f"MindWeave needs Python 3.11 or newer; this is {sys.version.split()[0]}.")
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "mindweave.settings")
    if sys.argv[1:2] == ["up"] or _of_an_instance():
        _enter_development()
    from django.core.exceptions import ImproperlyConfigured
    from django.core.management import execute_from_command_line

    try:
        execute_from_command_line(sys.argv)
    except ImproperlyConfigured as error:
        sys.exit(f"{error}")


def _of_an_instance() -> bool:
    """Whether `up` was started here: every command means its servers and secrets where no others are named."""
    from apps.core.dev import environment

    return environment.was_entered()


def _enter_development() -> None:
    """`up` brings its own servers and secrets, and the settings must know them before they are read."""
    from apps.core.dev import environment
    from apps.core.dev.servers import ServerError

    try:
        here = environment.enter()
    except OSError as error:
        sys.exit(environment.stop_word(error, environment.ROOT / (os.environ.get("MINDWEAVE_DATA_DIR") or "var")))
    except ServerError as error:
        sys.exit(str(error))
    if sys.dont_write_bytecode:
        # Compiling everything in each process costs seconds: kept, but away from the sources.
        sys.dont_write_bytecode = False
        sys.pycache_prefix = str(here.data_dir / "pycache")
        os.environ["PYTHONPYCACHEPREFIX"] = sys.pycache_prefix
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)


if __name__ == "__main__":
    main()
