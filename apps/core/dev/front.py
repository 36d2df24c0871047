"""The one address: Caddy, out of its wheel, in front of web and realtime (docs/decisions/0001-front.md).

``python -m apps.core.dev.front 0.0.0.0:8000 --web web:8000 --realtime realtime:8000`` runs it before other machines.
"""

import argparse
import json
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from apps.core.dev.servers import ServerError

__all__ = ["REALTIME_PATHS", "caddy_binary", "front_command", "front_config"]

# A body up to this size is read whole before it takes one of web's threads, so a slow client holds none of them.
_BUFFERED = 1024 * 1024

# What streams or holds sockets goes to the ASGI server; all else to the WSGI one.
REALTIME_PATHS = ["/ws/*", "/gateway/*"]


def caddy_binary() -> str:
    """Caddy's path: beside the interpreter, else on the PATH; :class:`ServerError` where there is none."""
    beside = Path(sys.executable).with_name("caddy")
    found = str(beside) if beside.exists() else shutil.which("caddy")
    if not found:
        raise ServerError("There is no Caddy for this platform; install caddy so that it is on the PATH")
    return found


def front_config(host: str, port: int, *, web: Path | str, realtime: Path | str) -> dict[str, Any]:
    """Caddy's configuration: no admin endpoint, no certificates, nothing written but what a log line needs.

    ``web`` and ``realtime`` are the paths of Unix sockets, or ``host:port``.

    ``X-Forwarded-For`` and ``-Proto`` are set from the connection; what a client sends of them is dropped, since no
    other proxy is trusted, and so is every header with an underscore: WSGI would take ``X_Forwarded_For`` for the
    same. Streams are flushed at once.
    """

    def to(upstream: Path | str, **options: Any) -> list[dict[str, Any]]:
        return [
            {"handler": "headers", "request": {"delete": ["*_*"]}},
            {
                "handler": "reverse_proxy",
                "upstreams": [{"dial": f"unix/{upstream}" if isinstance(upstream, Path) else upstream}],
                **options,
                # A restart of a process shows as a pause, not as an error.
                "load_balancing": {"retries": 100, "try_duration": "5s", "try_interval": "50ms"},
                "transport": {"protocol": "http", "compression": False, "keep_alive": {"max_idle_conns_per_host": 256}},
            },
        ]

    return {
        "admin": {"disabled": True, "config": {"persist": False}},
        "logging": {"logs": {"default": {"level": "WARN", "writer": {"output": "stderr"}}}},
        "apps": {
            "http": {
                "servers": {
                    "mindweave": {
                        "listen": [f"{f'[{host}]' if ':' in host else host}:{port}"],
                        "automatic_https": {"disable": True},
                        "protocols": ["h1", "h2c"],
                        "routes": [
                            {"match": [{"path": REALTIME_PATHS}], "handle": to(realtime, flush_interval=-1)},
                            {"handle": to(web, request_buffers=_BUFFERED)},
                        ],
                    }
                }
            }
        },
    }


def front_command(
    run_dir: Path, host: str, port: int, *, web: Path | str, realtime: Path | str
) -> tuple[list[str], dict[str, str]]:
    """The command that runs the front, and its environment; its files stay in ``run_dir``."""
    path = run_dir / "front.json"
    path.write_text(json.dumps(front_config(host, port, web=web, realtime=realtime)))
    env = {**os.environ, "HOME": str(run_dir), "XDG_DATA_HOME": str(run_dir), "XDG_CONFIG_HOME": str(run_dir)}
    env |= {"GOMAXPROCS": str(max(1, (os.cpu_count() or 2) // 2)), "GOGC": "400"}
    return [caddy_binary(), "run", "--config", str(path)], env


def main() -> None:
    """Become Caddy, in front of the upstreams that the arguments name."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("listen", help="host:port")
    parser.add_argument("--web", required=True, metavar="HOST:PORT")
    parser.add_argument("--realtime", required=True, metavar="HOST:PORT")
    arguments = parser.parse_args()
    host, _, port = arguments.listen.rpartition(":")
    run_dir = Path(tempfile.mkdtemp(prefix="front-"))
    command, env = front_command(run_dir, host, int(port), web=arguments.web, realtime=arguments.realtime)
    os.execve(command[0], command, env)  # noqa: S606 - no shell is wanted


if __name__ == "__main__":
    main()
