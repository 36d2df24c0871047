"""web's processes: several, forked from what is loaded, each started again for itself."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from apps.core.dev.serving import web_workers
from tests.runtime.instance import Instance
from tests.waiting import wait_for


@pytest.mark.parametrize(("cores", "workers"), [(1, 1), (2, 2), (3, 2), (4, 2), (6, 3), (8, 4), (64, 4)])
def test_one_interpreter_is_not_all_that_several_processors_get(cores: int, workers: int) -> None:
    assert web_workers(cores) == workers


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[Instance]:
    made = Instance(tmp_path / "data")
    made.start(arguments=("--json", "--no-demo")).ready()
    yield made
    made.clear()


def _of_web(instance: Instance) -> dict[int, int]:
    """The processes of web and their parents."""
    found = {}
    for pid in instance.left():
        entry = Path(f"/proc/{pid}")
        try:
            if (entry / "comm").read_text().strip() == "mw-web":
                found[pid] = int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1])
        except OSError:
            continue
    return found


def _workers(instance: Instance) -> set[int]:
    known = _of_web(instance)
    return {pid for pid, parent in known.items() if parent in known}


def _kb(pid: int, *names: str) -> int:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith(tuple(f"{name}:" for name in names)))


@pytest.mark.processes
def test_web_is_forked_and_each_of_its_processes_comes_again(instance: Instance) -> None:
    expected = web_workers(os.cpu_count() or 1)
    wait_for(lambda: len(_workers(instance)) == expected, what="web's processes")
    first = _workers(instance)
    (parent,) = set(_of_web(instance)) - first
    for pid in first:
        # What was imported is shared with the others, most of it.
        assert _kb(pid, "Shared_Dirty", "Shared_Clean") > _kb(pid, "Private_Dirty", "Private_Clean")

    # One that dies is another soon, and the front finds those who live.
    victim = min(first)
    os.kill(victim, signal.SIGKILL)
    wait_for(lambda: len(_workers(instance) - {victim}) == expected, what="another process of web")
    wait_for(lambda: _ready(instance), what="an answer")
    assert set(_of_web(instance)) - _workers(instance) == {parent}

    # None outlives the one that watches them.
    os.kill(parent, signal.SIGKILL)
    wait_for(lambda: not (first | {parent}) & set(_of_web(instance)), what="the end of web")
    wait_for(lambda: len(_workers(instance)) == expected, what="web's processes again")
    wait_for(lambda: _ready(instance), what="an answer")

    assert instance.end(signal.SIGTERM) == 0


def _ready(instance: Instance) -> bool:
    try:
        return instance.get("/health/ready")[0] == 200
    except OSError:
        return False
