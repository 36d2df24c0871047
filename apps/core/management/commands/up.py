"""``manage.py up``: everything, in the foreground, until Ctrl-C."""

import json
import os
import signal
import sys
import time
import urllib.error
import urllib.request
from argparse import ArgumentParser
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management import call_command, get_commands
from django.core.management.base import BaseCommand

from apps.core.dev import environment
from apps.core.dev.privileges import end_with_parent
from apps.core.dev.running import check_port, check_room, forget_metrics, hold_lock, prepare, programs
from apps.core.dev.servers import Server, ServerError, start_postgres, start_redis
from apps.core.dev.supervisor import Supervisor, run_forked

_READY_WITHIN = 60.0
# A server may end unexpectedly so often within so many seconds, and is started again.
_MOST_ENDS, _ENDS_WITHIN = 3, 60.0
# Redis may end as often as it likes: all else goes on without it. It is started again at most so often.
_REDIS_AGAIN = 5.0


class _Stop(Exception):
    """A signal asked to end."""


class Command(BaseCommand):
    help = "Start PostgreSQL, Redis and every process of MindWeave behind one address; Ctrl-C ends all."
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--json", action="store_true", help="print one JSON line when ready, and nothing else")
        parser.add_argument("--no-demo", action="store_true", help="start empty (as DEMO=0 does)")

    def handle(self, *args: Any, **options: Any) -> None:
        self.quiet: bool = options["json"]
        self.demo = not options["no_demo"] and os.environ.get("DEMO", "1") != "0"
        self.servers: list[Server] = []
        self.starters: list[Callable[[Path], Server]] = []
        self.ends: list[float] = []
        self.redis_again = 0.0
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._on_signal)
        if os.environ.get("MAKELEVEL"):
            end_with_parent()  # `make run`: whoever ends make, by whatever signal, ends us
        here = environment.place()
        self.supervisor = Supervisor(here.log_dir, self.tell)
        code = 0
        try:
            self._run(here)
        except _Stop:
            self.tell("Stopping …")
        except ServerError as error:
            self.stderr.write(str(error))
            code = 1
        except BrokenPipeError:
            pass  # whoever read our words has gone: the end, in order
        except OSError as error:
            self.stderr.write(environment.stop_word(error, here.data_dir))
            code = 1
        finally:
            self._end()
        sys.exit(code)

    def _run(self, here: environment.Place) -> None:
        began = time.monotonic()
        with hold_lock(here):
            check_room(here)
            check_port(settings.HOST, settings.PORT)
            self._start_servers(here)
            forget_metrics()
            prepare(here, say=self.tell)
            for program in programs(here):
                self.supervisor.start(program)
            self._wait_until_ready(here)
            facts = self._demo(here)
            self._print(facts, time.monotonic() - began)
            while True:
                self.supervisor.tend()
                self._watch_servers(here)
                time.sleep(0.2)

    # ------------------------------------------------------------------ steps
    def _start_servers(self, here: environment.Place) -> None:
        # From this thread, one after the other: the kernel ties a child's life to the thread that made it.
        if here.own_redis:
            self.starters.append(start_redis)
        if here.own_postgres:
            self.starters.append(start_postgres)
        for start in self.starters:
            self.servers.append(start(here.data_dir))

    def _watch_servers(self, here: environment.Place) -> None:
        """Start a server again that ended; a PostgreSQL that keeps ending is an error, a Redis is tried again later."""
        for number, server in enumerate(self.servers):
            if server.process.poll() is None:
                continue
            moment = time.monotonic()
            if server.name == "Redis":
                self._start_redis_again(number, here, moment)
                continue
            self.ends = [end for end in self.ends if moment - end < _ENDS_WITHIN] + [moment]
            if len(self.ends) > _MOST_ENDS:
                raise ServerError(f"{server.name} ended unexpectedly; its log is {server.log}.")
            self.stderr.write(f"{server.name} ended unexpectedly and is started again; its log is {server.log}.")
            self.servers[number] = self.starters[number](here.data_dir)

    def _start_redis_again(self, number: int, here: environment.Place, moment: float) -> None:
        if moment < self.redis_again:
            return
        self.redis_again = moment + _REDIS_AGAIN
        self.stderr.write(f"Redis ended unexpectedly and is started again; its log is {self.servers[number].log}.")
        try:
            self.servers[number] = self.starters[number](here.data_dir)
        except ServerError as error:
            self.stderr.write(f"{error}. All else goes on, and it is tried again.")

    def _wait_until_ready(self, here: environment.Place) -> None:
        url = f"{self._url()}/health/ready"
        deadline = time.monotonic() + _READY_WITHIN
        last, migrated = "", False
        while time.monotonic() < deadline:
            self.supervisor.tend()
            self._watch_servers(here)
            try:
                with urllib.request.urlopen(url, timeout=5) as answer:  # noqa: S310 - our own address
                    if answer.status == 200:
                        return
            except urllib.error.HTTPError as error:
                last = error.read(2000).decode(errors="replace")
                if "migrations are missing" in last and not migrated:
                    # The stamp of the last start does not fit this database: another one was put in its place.
                    migrated = run_forked(lambda: call_command("migrate", verbosity=0), self.log("migrate")) == 0
            except OSError as error:
                last = str(error)
            time.sleep(0.05)
        raise ServerError(f"MindWeave did not become ready ({last}); logs are in {self.supervisor.log_dir}.")

    def _demo(self, here: environment.Place) -> dict[str, Any]:
        """Make the demo organisation through the running product, once; what it made is kept for the next start."""
        if not self.demo or "demo" not in get_commands():
            return {}
        path = here.data_dir / "demo.json"
        if not path.exists():
            self.tell("Making a demo organisation with 60 days of history …")
            log = here.log_dir / "demo.log"
            if run_forked(lambda: call_command("demo", output=str(path)), log):
                raise ServerError(f"The demo data could not be made; see {log}.")
        facts: dict[str, Any] = json.loads(path.read_text())
        return facts

    def _url(self) -> str:
        host = "localhost" if settings.HOST in {"127.0.0.1", "0.0.0.0"} else settings.HOST  # noqa: S104
        return f"http://{host}:{settings.PORT}"

    def _print(self, facts: dict[str, Any], seconds: float) -> None:
        url = self._url()
        if self.quiet:
            names = ("email", "password", "org_id", "project_id", "api_key")
            line = {"url": url, **{name: facts.get(name) for name in names}}
            print(json.dumps(line), flush=True)
            return
        lines = ["", f"MindWeave is ready after {seconds:.1f} s.", "", f"  Open      {url}"]
        if facts:
            lines += [
                f"  Log in    {facts['email']}  /  {facts['password']}",
                f"  Staff     {url}/admin/   {facts['staff_email']}  /  {facts['staff_password']}",
                "            (on the first visit scan the code it shows with an authenticator app)",
                f"  API key   {facts['api_key']}",
                "",
                "Send an event:",
                "",
                _curl(url, facts["api_key"]),
            ]
        else:
            lines += ["", "  It is empty: open the page and make your organisation."]
        lines += ["", f"  API       {url}/docs", f"  Mail      {url}/dev/mail", "", "Ctrl-C stops everything."]
        print("\n".join(lines), flush=True)

    # ------------------------------------------------------------------ the end
    def _on_signal(self, number: int, frame: Any) -> None:
        if not self.supervisor.stopping:
            raise _Stop

    def _end(self) -> None:
        self.supervisor.stop()
        with ThreadPoolExecutor() as pool:
            list(pool.map(lambda server: server.stop(1.6), self.servers))

    def log(self, name: str) -> Path:
        """The log of a command that runs before the start."""
        return self.supervisor.log_dir / f"{name}.log"

    def tell(self, sentence: str) -> None:
        """Say something to the person at the terminal; `--json` keeps standard output to its one line."""
        print(sentence, file=sys.stderr if self.quiet else sys.stdout, flush=True)


def _curl(url: str, key: str) -> str:
    return (
        f"  curl -sS {url}/v1/track -H 'Authorization: Bearer {key}' -H 'Content-Type: application/json' \\\n"
        """    -d '{"event_id": "'$(cat /proc/sys/kernel/random/uuid)'", "timestamp": "'$(date -u +%FT%TZ)'",\n"""
        """         "event_type": "api_call", "model": "claude-opus-5-5", "input_tokens": 1200, "output_tokens": 42}'"""
    )
