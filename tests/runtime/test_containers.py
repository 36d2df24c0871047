"""The containers' description is valid, and every container is as locked down as it promises."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from apps.core.dev.environment import Place
from apps.core.dev.running import programs
from tests.processes import ROOT

COMPOSE = ROOT / "docker-compose.yml"
SERVICES: dict[str, dict[str, Any]] = yaml.safe_load(COMPOSE.read_text())["services"]


def test_it_fits_the_schema_of_compose() -> None:
    checker = Path(sys.executable).with_name("check-jsonschema")
    result = subprocess.run(
        [checker, "--builtin-schema", "vendor.compose-spec", COMPOSE], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr


def test_it_runs_every_process_that_the_supervisor_runs(tmp_path: Path) -> None:
    names = {program.name for program in programs(Place(tmp_path, tmp_path, own_postgres=False, own_redis=False))}
    # Of the intake there are several under one name there.
    names = {re.sub(r"-\d+$", "", name) for name in names}
    assert names | {"postgres", "redis", "migrate"} == set(SERVICES)


@pytest.mark.parametrize("name", SERVICES)
def test_a_container_has_no_root_and_says_how_it_is(name: str) -> None:
    service = SERVICES[name]
    assert service["user"].split(":")[0] not in {"", "0", "root"}
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert ("healthcheck" in service) != (name == "migrate")


def test_only_the_front_is_reachable_and_no_secret_has_a_default() -> None:
    assert [name for name, service in SERVICES.items() if "ports" in service] == ["front"]
    text = COMPOSE.read_text()
    for secret in ("SECRET_KEY", "POSTGRES_PASSWORD"):
        assert f"${{{secret}:?" in text
        assert f"${{{secret}:-" not in text
