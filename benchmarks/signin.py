"""What signing in costs without the hashing, which is meant to be slow: the whole application in one process.

``POST /auth/login`` and ``GET /auth/me`` go through the WSGI application as the web server calls it, from twenty
threads at once, against the instance's database and Redis; passwords are hashed by MD5 in this process alone. The
specification's budget for auth is 50 ms at p95 (section 2.1).
"""

import argparse
import io
import json
import os
import sys
import threading
import time
from collections.abc import Callable
from typing import Any
from uuid import uuid4

__all__: list[str] = []

IN_FLIGHT, EACH, ALONE = 20, 25, 200
PASSWORD = "only for measuring 4711"


def _ask(application: Any, method: str, path: str, body: bytes, ip: str, **headers: str) -> tuple[str, bytes]:
    said: list[str] = []
    environ = {
        "REQUEST_METHOD": method, "PATH_INFO": path, "SCRIPT_NAME": "", "QUERY_STRING": "", "SERVER_NAME": "localhost",
        "SERVER_PORT": "80", "SERVER_PROTOCOL": "HTTP/1.1", "REMOTE_ADDR": ip, "HTTP_HOST": "localhost",
        "HTTP_X_FORWARDED_FOR": ip, "CONTENT_TYPE": "application/json", "CONTENT_LENGTH": str(len(body)),
        "wsgi.input": io.BytesIO(body), "wsgi.errors": sys.stderr, "wsgi.url_scheme": "http", "wsgi.version": (1, 0),
        "wsgi.multithread": True, "wsgi.multiprocess": False, "wsgi.run_once": False, **headers,
    }  # fmt: skip
    parts = application(environ, lambda status, found: said.append(status))
    answer = b"".join(parts)
    getattr(parts, "close", lambda: None)()
    return said[0], answer


def _times(ask: Callable[[], tuple[str, bytes]], count: int) -> list[float]:
    found = []
    for number in range(count + 2):
        began = time.perf_counter()
        status, answer = ask()
        if number >= 2:  # the first are the caches'
            found.append((time.perf_counter() - began) * 1000)
        if not status.startswith("200"):
            raise RuntimeError(f"{status} {answer[:300]!r}")
    return found


def _together(asks: list[Callable[[], tuple[str, bytes]]]) -> list[float]:
    found: list[float] = []
    threads = [threading.Thread(target=lambda ask=ask: found.extend(_times(ask, EACH))) for ask in asks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


def _at(times: list[float], percent: int) -> float:
    ordered = sorted(times)
    return ordered[min(len(ordered) - 1, len(ordered) * percent // 100)]


def main() -> None:
    """Print a row for each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", required=True, help="data directory of the running instance")
    os.environ["MINDWEAVE_DATA_DIR"] = parser.parse_args().data_dir
    os.environ["API_REQUESTS_PER_MINUTE"] = "0"
    from apps.core.dev.environment import enter

    enter()
    from django.conf import settings

    from mindweave.wsgi import application

    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    from apps.identity.services import register

    tag = uuid4().hex[:8]
    people = [f"p{n}@{tag}.measured.test" for n in range(IN_FLIGHT)]
    for email in people:
        register(email=email, password=PASSWORD, name="Measured", email_verified=True)

    def login(number: int) -> Callable[[], tuple[str, bytes]]:
        body = json.dumps({"email": people[number], "password": PASSWORD}).encode()
        return lambda: _ask(application, "POST", "/auth/login", body, f"192.0.2.{number + 1}")

    def me(number: int) -> Callable[[], tuple[str, bytes]]:
        token = json.loads(login(number)()[1])["access_token"]
        header = {"HTTP_AUTHORIZATION": f"Bearer {token}"}
        return lambda: _ask(application, "GET", "/auth/me", b"", f"192.0.2.{number + 1}", **header)

    print(f"{'in one process':36} {'alone p50':>9} {'p95':>7} {'20 in flight p50':>17} {'p95':>7}  ms")
    for name, make in (("POST /auth/login, without the hashing", login), ("GET /auth/me", me)):
        alone, together = _times(make(0), ALONE), _together([make(number) for number in range(IN_FLIGHT)])
        print(
            f"{name:36} {_at(alone, 50):9.1f} {_at(alone, 95):7.1f} {_at(together, 50):17.1f} {_at(together, 95):7.1f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
