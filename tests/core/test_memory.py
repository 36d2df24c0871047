"""What a process may use of the machine's memory."""

from pathlib import Path

import pytest

from apps.core.memory import machine_bytes


def written(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.mark.parametrize(
    ("line", "file"),
    [
        ("0::/", "memory.max"),
        ("0::/app/web", "memory.max"),
        ("0::/app/web", "app/memory.max"),
        ("0::/app/web", "app/web/memory.max"),
        ("9:cpu,memory:/app", "memory/app/memory.limit_in_bytes"),
        ("9:memory:/somewhere/of/the/host", "memory/memory.limit_in_bytes"),
    ],
)
def test_a_control_group_and_each_above_it_may_say_less(tmp_path: Path, line: str, file: str) -> None:
    proc, cgroups = tmp_path / "proc", tmp_path / "cgroup"
    written(proc / "self" / "cgroup", f"8:devices:/app\n{line}\n")
    written(cgroups / file, "12345678\n")
    assert machine_bytes(proc, cgroups) == 12345678


def test_without_a_limit_it_is_what_the_machine_has(tmp_path: Path) -> None:
    proc, cgroups = tmp_path / "proc", tmp_path / "cgroup"
    whole = machine_bytes(proc, cgroups)
    assert whole > 1 << 28
    written(proc / "self" / "cgroup", "0::/app\n")
    written(cgroups / "app" / "memory.max", "max\n")
    written(cgroups / "memory.max", str(1 << 60))
    assert machine_bytes(proc, cgroups) == whole
