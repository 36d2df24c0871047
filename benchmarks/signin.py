"""What signing in costs without the hashing, which is meant to be slow, and what asking who one is does.

``POST /auth/login`` and ``GET /auth/me`` of twenty people, through a front and a web process as the instance's own are,
against its database and Redis, beside everything else that it runs. Only the hashing of passwords is another there
(MD5). The specification's budget for auth is 50 ms at p95 (section 2.1).
"""

import argparse
import contextlib
import json
import os
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

from benchmarks.callers import IN_FLIGHT, in_flight, request_of
from benchmarks.routes import Caller

__all__: list[str] = []

PASSWORD = "only for measuring 4711"
_JSON = {"Content-Type": "application/json"}


@contextlib.contextmanager
def _served() -> Iterator[str]:
    """The address of a front and a web process without the hashing."""
    from django.db import connections

    from apps.core.dev.front import front_command
    from apps.core.dev.serving import web_program
    from apps.core.dev.supervisor import Supervisor

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    url = f"http://127.0.0.1:{port}"
    with tempfile.TemporaryDirectory(prefix="mws-") as place, contextlib.ExitStack() as stack:
        run = Path(place)
        front, env = front_command(run, "127.0.0.1", port, web=run / "web.sock", realtime=run / "none.sock")
        served = subprocess.Popen(front, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        stack.callback(served.wait)
        stack.callback(served.send_signal, signal.SIGTERM)
        # What is forked shares no connection.
        connections.close_all()
        supervisor = Supervisor(run, print)
        stack.callback(supervisor.stop)
        supervisor.start(web_program(run / "web.sock", "benchmarks.unhashed:application"))
        _wait(url)
        yield url


def _wait(url: str) -> None:
    for _ in range(300):
        with contextlib.suppress(OSError):
            if Caller(url, {})("GET", "/health/live")[0] == 200:
                return
        time.sleep(0.1)
    raise RuntimeError("the web process did not start")


def _logins(url: str, people: list[str]) -> list[bytes]:
    bodies = [json.dumps({"email": email, "password": PASSWORD}).encode() for email in people]
    return [request_of(url, "POST", "/auth/login", _JSON, body) for body in bodies]


def _mes(url: str, people: list[str]) -> list[bytes]:
    found = []
    for email in people:
        body = json.dumps({"email": email, "password": PASSWORD}).encode()
        status, answer, _ = Caller(url, _JSON)("POST", "/auth/login", body)
        if status != 200:
            raise RuntimeError(f"{status} {answer[:300]!r}")
        header = {"Authorization": f"Bearer {json.loads(answer)['access_token']}"}
        found.append(request_of(url, "GET", "/auth/me", header))
    return found


def main() -> None:
    """Print a row for each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", required=True, help="data directory of the running instance")
    os.environ["MINDWEAVE_DATA_DIR"] = parser.parse_args().data_dir
    os.environ["API_REQUESTS_PER_MINUTE"] = "1000000"
    from apps.core.dev.environment import enter

    enter()
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "mindweave.settings")
    import django
    from django.conf import settings

    django.setup()
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    from apps.identity.services import register

    people = [f"p{n}@{uuid4().hex[:8]}.measured.test" for n in range(IN_FLIGHT)]
    for email in people:
        register(email=email, password=PASSWORD, name="Measured", email_verified=True)
    with _served() as url:
        print(f"{'':36} {'alone p50':>9} {'p95':>7} {'20 in flight p50':>17} {'p95':>7}  ms {'a second':>9}")
        for name, made in (
            ("POST /auth/login, without the hashing", _logins(url, people)),
            ("GET /auth/me", _mes(url, people)),
        ):
            alone, together = in_flight(url, made[:1]), in_flight(url, made)
            print(
                f"{name:36} {alone.at(50):9.1f} {alone.at(95):7.1f} {together.at(50):17.1f} {together.at(95):7.1f}    "
                f"{together.a_second:9,.0f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
