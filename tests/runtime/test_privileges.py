"""A server that may not run as root still reaches what lies below a directory that only root may enter."""

import os
import subprocess
from pathlib import Path

import pytest

from apps.core.dev.privileges import child_setup, server_uid

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: only root changes its user")


def test_another_user_passes_a_closed_directory_by_every_way_of_asking(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    program = closed / "program"
    program.write_text("#!/bin/sh\nid -u\n")
    program.chmod(0o755)
    become = server_uid()
    assert become is not None
    # `test -x` asks access(2), as initdb does; then the program itself is started.
    found = subprocess.run(
        ["/bin/sh", "-c", f"test -x {program} && {program}"],
        preexec_fn=child_setup(become=become), capture_output=True, text=True, cwd="/",
    )  # fmt: skip
    assert (found.returncode, found.stdout.strip()) == (0, str(become[0])), found.stderr
