"""Makes ``.venv`` out of a hash-locked requirements file: ``python3 apps/core/dev/venv.py requirements.txt``.

Runs on the system's Python before anything is installed, so: the standard library alone, and a syntax that old versions
can read, to say that they are too old. A stamp in the environment names the lock that it holds, so a
later call does nothing.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
VENV = os.path.join(ROOT, ".venv")
PYTHON = os.path.join(VENV, "bin", "python")
INSTALLER_LOCK = os.path.join(ROOT, "deploy", "uv.txt")


def main(lock: str) -> None:
    if sys.version_info < (3, 11):  # noqa: UP036 - this file runs before that is known
        sys.exit(f"MindWeave needs Python 3.11 or newer; this is {sys.version.split()[0]}. Set PYTHON=…")
    descriptor = os.open(ROOT, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)  # `make run` and `make test` at once: one installs, the other waits
    stamp = os.path.join(VENV, ".stamp-" + os.path.basename(lock))
    wanted = _digest(os.path.join(ROOT, lock))
    if _read(stamp) == wanted and os.access(PYTHON, os.X_OK):
        return
    try:
        _install(os.path.join(ROOT, lock))
        with open(stamp, "w") as out:
            out.write(wanted)
    except subprocess.CalledProcessError as error:
        sys.exit(f"The packages could not be installed: `{' '.join(error.cmd[:4])}` failed (see above).")
    except OSError as error:
        sys.exit(f"{error.filename or VENV} cannot be written ({error.strerror}).")


def _digest(lock: str) -> str:
    with open(lock, "rb") as source:
        content = source.read()
    return hashlib.sha256(content + VENV.encode()).hexdigest()


def _read(path: str) -> str:
    try:
        with open(path) as source:
            return source.read()
    except OSError:
        return ""


def _install(lock: str) -> None:
    _say("Installing packages into .venv …")
    uv = _found_uv()
    if not _works(PYTHON):
        _make_venv(uv)
    uv = uv or _fetched_uv()
    if uv:
        base = [uv, "pip", "install", "--quiet", "--python", PYTHON, "--require-hashes", "-r", lock]
        if subprocess.call(base, env=_uv_environment()) == 0:
            return
        _say("uv did not manage; pip tries.")
    subprocess.check_call(
        [PYTHON, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--require-hashes", "-r", lock]
    )


def _make_venv(uv: str | None) -> None:
    if subprocess.call([sys.executable, "-m", "venv", "--clear", VENV]) == 0:
        return
    if uv and subprocess.call([uv, "venv", "--quiet", "--clear", "--seed", "--python", sys.executable, VENV]) == 0:
        return
    sys.exit(f"{sys.executable} cannot make a virtual environment; install its venv module (Debian: python3-venv).")


def _found_uv() -> str | None:
    """A uv that is there and answers: one on the PATH may be a shim without a version behind it."""
    for path in (os.path.join(VENV, "bin", "uv"), shutil.which("uv")):
        if path and _works(path):
            return path
    return None


def _fetched_uv() -> str | None:
    """uv from the package index, by hash: it installs in three seconds what takes pip half a minute."""
    pip = [PYTHON, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    code = subprocess.call(
        [*pip, "--require-hashes", "-r", INSTALLER_LOCK],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    return os.path.join(VENV, "bin", "uv") if code == 0 else None


def _works(program: str) -> bool:
    try:
        return subprocess.call([program, "--version"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) == 0
    except OSError:
        return False


def _uv_environment() -> dict[str, str]:
    """What pip has been told about indexes holds for uv too, which has names of its own for it."""
    env = dict(os.environ)
    for theirs, ours in (
        ("PIP_INDEX_URL", "UV_DEFAULT_INDEX"),
        ("PIP_EXTRA_INDEX_URL", "UV_INDEX"),
        ("PIP_FIND_LINKS", "UV_FIND_LINKS"),
        ("PIP_CERT", "SSL_CERT_FILE"),
    ):
        if env.get(theirs) and not env.get(ours):
            env[ours] = env[theirs]
    env.setdefault("UV_LINK_MODE", "copy")
    return env


def _say(sentence: str) -> None:
    sys.stderr.write(sentence + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
