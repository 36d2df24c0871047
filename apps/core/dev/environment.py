"""The environment of a development machine: made once, kept under the data directory, found again by every command.

No Django here: this runs before the settings are read.
"""

import errno
import json
import os
import secrets
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from apps.core.dev.servers import run_dir_for

__all__ = ["Place", "enter", "place", "stop_word", "was_entered"]

ROOT = Path(__file__).resolve().parents[3]


@dataclass(frozen=True, slots=True)
class Place:
    """Where everything of one development instance lies, and which servers are its own."""

    data_dir: Path
    run_dir: Path
    own_postgres: bool
    own_redis: bool

    @property
    def log_dir(self) -> Path:
        return self.data_dir / "log"


_entered: Place | None = None


def place() -> Place:
    """The instance that :func:`enter` found."""
    if _entered is None:
        raise RuntimeError("enter() comes first")
    return _entered


def was_entered() -> bool:
    """Whether the instance that the environment names was started before, and the environment has no other's secrets.

    A database that is named goes before the instance's own: a backup is restored into an empty one under its secrets.
    """
    return not _given("SECRET_KEY") and (_data_dir() / "secrets.json").exists()


def _data_dir() -> Path:
    return ROOT / (os.environ.get("MINDWEAVE_DATA_DIR") or "var")


def _look() -> Place:
    """The instance that the environment names (``MINDWEAVE_DATA_DIR``, by default ``var``); makes its directories."""
    data_dir = _data_dir()
    data_dir.mkdir(parents=True, exist_ok=True)
    (data_dir / "log").mkdir(exist_ok=True)
    return Place(
        data_dir=data_dir,
        run_dir=run_dir_for(data_dir),
        own_postgres=not _given("DATABASE_URL"),
        own_redis=not _given("REDIS_URL"),
    )


def enter() -> Place:
    """Set what the settings need: addresses of the servers, secrets (made on the first start, mode 0600).

    Called once, before Django is loaded; what it found is what :func:`place` tells afterwards.
    """
    global _entered
    here = _entered = _look()
    os.environ["MINDWEAVE_DATA_DIR"] = str(here.data_dir)
    os.environ.setdefault("MINDWEAVE_ENV", "development")
    if here.own_postgres:
        os.environ["DATABASE_URL"] = f"postgres://postgres@{quote(str(here.run_dir / 'pg'), safe='')}/mindweave"
    if here.own_redis:
        os.environ["REDIS_URL"] = f"unix://{here.run_dir / 'redis.sock'}"
    for name, value in _secrets(here.data_dir / "secrets.json").items():
        if not _given(name):
            os.environ[name] = value
    return here


def _given(name: str) -> bool:
    return bool(os.environ.get(name) or os.environ.get(f"{name}_FILE"))


def _secrets(path: Path) -> dict[str, str]:
    if path.exists():
        known: dict[str, str] = json.loads(path.read_text())
        return known
    made = {name: secrets.token_urlsafe(48) for name in ("SECRET_KEY", "FIELD_ENCRYPTION_KEYS", "TOKEN_PEPPERS")}
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as out:
        json.dump(made, out)
    return made


def stop_word(error: OSError, path: Path) -> str:
    """One sentence for a person about a data directory that cannot be used."""
    if error.errno == errno.ENOSPC:
        return f"The disk of {path} is full; make room or set MINDWEAVE_DATA_DIR to a directory on another."
    what = error.filename or path
    return f"{what} cannot be used ({error.strerror}); make it writable or set MINDWEAVE_DATA_DIR to another directory."
