"""What runs behind others' backs steps aside, and comes forward again."""

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator

import pytest

from apps.core.priority import Aside, turns_of, usual_turns, want_short_turns

# In a process of its own: all of its threads are moved.
_STEPS = """
import os, threading, time
from apps.core.priority import Aside
os.nice(5)
aside = Aside()
assert aside.able
spared = threading.Thread(target=lambda: (aside.spare_this_thread(), time.sleep(60)), daemon=True)
spared.start()
other = threading.Thread(target=time.sleep, args=(60,), daemon=True)
other.start()
time.sleep(0.1)
def classes():
    return [os.sched_getscheduler(t) for t in (os.getpid(), other.native_id, spared.native_id)]
usual, idle = os.SCHED_OTHER, os.SCHED_IDLE
aside.step_aside()
assert classes() == [idle, idle, usual], classes()
aside.step_aside()
aside.come_back()
assert classes() == [usual] * 3, classes()
assert os.getpriority(os.PRIO_PROCESS, 0) == 5
aside.come_forward()
aside.come_back()
assert classes() == [usual] * 3, classes()
assert os.getpriority(os.PRIO_PROCESS, 0) == 0
"""


@pytest.fixture
def helper() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    yield process
    process.kill()
    process.wait()


def _needs_to_return() -> Aside:
    aside = Aside()
    if not aside.able:
        pytest.skip("needs CAP_SYS_NICE or a limit RLIMIT_NICE of 1")
    return aside


def test_all_threads_step_aside_but_the_one_that_brings_them_back() -> None:
    _needs_to_return()
    subprocess.run([sys.executable, "-c", _STEPS], check=True)


def test_a_process_that_works_for_it_goes_along(helper: subprocess.Popen[bytes]) -> None:
    aside = _needs_to_return()
    before = os.sched_getscheduler(0)
    aside.add_helper(helper.pid, _name_of(helper.pid))
    done = threading.Event()

    def move() -> None:
        # Threads of the test's own process are spared one by one: it has others to run.
        aside._spared.update(int(thread) for thread in os.listdir("/proc/self/task"))
        aside.step_aside()
        done.set()

    threading.Thread(target=move).start()
    done.wait(10)
    assert os.sched_getscheduler(helper.pid) == os.SCHED_IDLE
    aside.come_forward()
    assert os.sched_getscheduler(helper.pid) == os.SCHED_OTHER
    assert os.sched_getscheduler(0) == before


def test_a_process_of_another_name_is_left_alone(helper: subprocess.Popen[bytes]) -> None:
    aside = _needs_to_return()
    aside.add_helper(helper.pid, "postgres")
    assert not aside._helpers


def test_who_may_not_come_forward_again_never_steps_aside(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "sched_setscheduler", refuse)
    aside = Aside()
    aside.step_aside()
    assert not aside.able
    assert not aside.is_aside


def _name_of(pid: int) -> str:
    with open(f"/proc/{pid}/comm") as file:
        return file.read().strip()


def _in_a_thread(work: Callable[[], object]) -> None:
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()


def test_what_somebody_waits_for_takes_short_turns_and_so_does_what_it_starts(helper: subprocess.Popen[bytes]) -> None:
    turns: dict[str, int] = {}

    def work() -> None:
        # Another test may have loaded web, which asks for short ones.
        usual_turns()
        turns["usual"] = turns_of()
        want_short_turns()
        turns["short"], turns["nice"] = turns_of(), os.getpriority(os.PRIO_PROCESS, 0)
        _in_a_thread(lambda: turns.update(thread=turns_of()))
        script = "from apps.core.priority import turns_of; print(turns_of())"
        turns["process"] = int(subprocess.run([sys.executable, "-c", script], capture_output=True, check=True).stdout)
        usual_turns()
        turns["again"] = turns_of()

    before = os.getpriority(os.PRIO_PROCESS, 0)
    _in_a_thread(work)
    if turns["short"] == turns["usual"]:
        pytest.skip("this Linux has no turns of a length that is wished for (6.12 and later)")
    assert turns["nice"] == before
    assert 0 < turns["short"] == turns["thread"] == turns["process"] < turns["usual"] == turns["again"]


def test_a_process_that_works_for_it_takes_usual_turns() -> None:
    started: list[subprocess.Popen[bytes]] = []
    usual = short = 0

    def start() -> None:
        nonlocal usual, short
        usual_turns()
        usual = turns_of()
        want_short_turns()
        short = turns_of()
        started.append(subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]))

    _in_a_thread(start)
    try:
        assert turns_of(started[0].pid) == short
        aside = Aside()
        # Whether or not it may step aside.
        aside.able = False
        aside.add_helper(started[0].pid, _name_of(started[0].pid))
        assert turns_of(started[0].pid) == usual
    finally:
        started[0].kill()
        started[0].wait()
