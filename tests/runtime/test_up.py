"""`manage.py up`, run for real: it comes up, it ends, it comes up again whatever happened."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from apps.core.dev.servers import run_dir_of
from tests.runtime.instance import Instance, free_port
from tests.waiting import wait_for

pytestmark = pytest.mark.processes

SECRETS = "secrets.json"


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[..., Instance]]:
    made: list[Instance] = []

    def _make(name: str = "data", **options: object) -> Instance:
        made.append(Instance(tmp_path / name, **options))  # type: ignore[arg-type]
        return made[-1]

    yield _make
    for instance in made:
        instance.clear()


def test_one_command_comes_up_recovers_from_kill_9_and_ends_in_order(make) -> None:
    instance = make()
    facts = instance.start().ready()
    assert set(facts) == {"url", "email", "password", "org_id", "project_id", "api_key"}
    assert facts["url"].endswith(f":{instance.port}")
    status, body = instance.get("/health/ready")
    assert status == 200, body
    assert instance.get("/health/live")[0] == 200
    assert instance.get("/")[0] == 200
    assert (instance.data_dir / SECRETS).stat().st_mode & 0o777 == 0o600
    assert run_dir_of(instance.data_dir).stat().st_mode & 0o777 == 0o700
    kept = (instance.data_dir / SECRETS).read_bytes()

    # The commands of the documents find it, its servers and its secrets by themselves.
    copy = instance.data_dir.parent / "copy.dump"
    said = instance.command("backup", str(copy))
    assert said.returncode == 0, said.stderr
    assert copy.stat().st_size

    # kill -9 of the supervisor leaves nothing, not even the database.
    assert instance.left()
    instance.end(signal.SIGKILL)

    # The next start recovers, and is the same instance.
    instance.start().ready()
    assert instance.get("/health/ready")[0] == 200
    assert (instance.data_dir / SECRETS).read_bytes() == kept

    # A child that dies is started again.
    (front,) = instance.children("front.conf")
    os.kill(front, signal.SIGKILL)
    wait_for(lambda: instance.children("front.conf") not in ([], [front]), what="another front")
    wait_for(lambda: _answers(instance), what="an answer")

    # A second supervisor on the same data is refused by name.
    second = Instance(instance.data_dir, port=free_port()).start()
    assert second.process is not None
    assert second.process.wait(60) == 1
    assert "running here already" in second.errors.read_text()

    # SIGTERM ends all in order.
    assert instance.end(signal.SIGTERM) == 0
    log = (instance.data_dir / "log" / "postgres.log").read_text()
    assert log.rstrip().endswith("database system is shut down")


def _answers(instance: Instance) -> bool:
    try:
        return instance.get("/health/live")[0] == 200
    except OSError:
        return False


def test_ctrl_c_while_it_starts_leaves_nothing(make) -> None:
    instance = make().start()
    wait_for(lambda: bool(instance.children("postgres")), what="PostgreSQL")
    assert instance.end(signal.SIGINT) == 0


def test_a_port_in_use_gets_a_sentence(make) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        instance = make(port=port).start()
        assert instance.process.wait(60) == 1
    said = instance.errors.read_text().strip()
    assert said == f"Port {port} is in use; stop what uses it or set MINDWEAVE_PORT."
    assert not instance.left()


def test_a_data_directory_that_cannot_be_made_gets_a_sentence(make, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a directory")
    instance = make("file")
    instance.start()
    assert instance.process.wait(60) != 0
    said = instance.errors.read_text().strip().splitlines()
    assert len(said) == 1
    assert "MINDWEAVE_DATA_DIR" in said[0]


def test_a_full_disk_gets_a_sentence(make, monkeypatch: pytest.MonkeyPatch) -> None:
    from apps.core.dev import running
    from apps.core.dev.environment import Place
    from apps.core.dev.servers import ServerError

    class _Usage:
        free = 10 * 2**20

    monkeypatch.setattr(running.shutil, "disk_usage", lambda _: _Usage)
    instance = make()
    with pytest.raises(ServerError, match="10 MiB free"):
        running.check_room(Place(instance.data_dir, instance.data_dir / "run", own_postgres=True, own_redis=True))


def test_an_old_python_gets_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    import manage
    from apps.core.dev import venv

    monkeypatch.setattr(sys, "version_info", (3, 9, 2))
    for start in (manage.main, lambda: venv.main("requirements.txt")):
        with pytest.raises(SystemExit, match=r"MindWeave needs Python 3\.11 or newer; this is"):
            start()


NOBODY = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")


def _nobody_may_run_python() -> bool:
    """Root may become somebody else, who can start this interpreter (one below /root is out of reach)."""
    script = f"import subprocess; subprocess.run([{sys.executable!r}, '-V'], check=True)"
    try:
        return (
            os.geteuid() == 0
            and not subprocess.run([*NOBODY, sys.executable, "-c", script], capture_output=True).returncode
        )
    except OSError:
        return False


@pytest.mark.skipif(not _nobody_may_run_python(), reason="needs root and an interpreter that others can start")
def test_it_runs_as_anybody_from_a_long_path(make, tmp_path: Path) -> None:
    """As `nobody`, with a data directory whose path is too long for a socket."""
    home = tmp_path / ("a-rather-long-name-" * 6)
    home.mkdir()
    for directory in (home, *list(tmp_path.parents)[:-1], tmp_path):
        if directory.stat().st_uid == 0 and str(directory) != "/tmp":
            directory.chmod(0o755)
    os.chown(home, 65534, 65534)
    instance = make(f"{home.name}/data", HOME=str(home), MINDWEAVE_HOST="127.0.0.1")
    instance.start(prefix=NOBODY).ready()
    assert instance.get("/health/ready")[0] == 200
    owners = {(Path("/proc") / str(pid)).stat().st_uid for pid in instance.left()}
    assert owners == {65534}
    assert instance.end() == 0


def test_a_command_without_an_instance_and_secrets_gets_a_sentence(make) -> None:
    said = make().command("import_events", "may.jsonl", "--org", "acme", "--project", "loom")
    assert said.returncode == 1
    assert said.stderr.startswith("SECRET_KEY")
    assert len(said.stderr.splitlines()) == 1
