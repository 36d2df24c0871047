"""Settings say what is wrong with them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured

from apps.core.checks import check_settings
from mindweave.env import celery_redis_url, env_bool, env_int, env_value, redis_url


def test_nothing_is_wrong_with_the_settings_of_the_tests() -> None:
    assert check_settings() == []


@pytest.mark.parametrize(
    ("name", "value", "code"),
    [
        ("DATABASE_URL", "mysql://x", "mindweave.E001"),
        ("REDIS_URL", "memcached://x", "mindweave.E002"),
        ("PUBLIC_URL", "mindweave.example", "mindweave.E003"),
        ("PORT", 70000, "mindweave.E004"),
        ("FIELD_ENCRYPTION_KEYS", ["short"], "mindweave.E010"),
        ("TOKEN_PEPPERS", ["short"], "mindweave.E011"),
    ],
)
def test_what_is_wrong_is_named(name: str, value: object, code: str, settings) -> None:
    setattr(settings, name, value)
    assert code in {message.id for message in check_settings()}


def test_production_is_held_to_more(settings) -> None:
    settings.DEVELOPMENT, settings.DEBUG, settings.SECRET_KEY = False, True, "insecure-short"
    settings.ALLOWED_HOSTS, settings.MINDWEAVE_DEV_MAILBOX = ["*"], True
    settings.FIELD_ENCRYPTION_KEYS = settings.TOKEN_PEPPERS = []
    settings.PUBLIC_URL = "http://localhost:8000"
    assert {message.id for message in check_settings()} == {
        f"mindweave.{code}" for code in ("E020", "E021", "E022", "E023", "W024", "W025")
    }


def test_production_does_not_start_without_its_secret() -> None:
    env = {
        "PATH": os.environ["PATH"],
        "MINDWEAVE_ENV": "production",
        "MINDWEAVE_DATA_DIR": os.environ["MINDWEAVE_DATA_DIR"],
    }
    found = subprocess.run(
        [sys.executable, "manage.py", "check"], env=env, capture_output=True, text=True, cwd=Path(__file__).parents[2]
    )
    assert found.returncode != 0
    assert "SECRET_KEY (or SECRET_KEY_FILE) is not set" in found.stderr


def test_a_value_comes_from_a_file_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "secret"
    path.write_text("hush\n")
    monkeypatch.setenv("MW_TEST_FILE", str(path))
    assert env_value("MW_TEST") == "hush"
    monkeypatch.setenv("MW_TEST", "spoken")
    assert env_value("MW_TEST") == "spoken"
    monkeypatch.delenv("MW_TEST")
    monkeypatch.setenv("MW_TEST_FILE", "/nowhere/at/all")
    with pytest.raises(ImproperlyConfigured, match="MW_TEST_FILE"):
        env_value("MW_TEST")


def test_words_that_are_no_booleans_or_numbers_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MW_TEST", "yes")
    with pytest.raises(ImproperlyConfigured, match="MW_TEST must be true or false"):
        env_bool("MW_TEST", False)
    with pytest.raises(ImproperlyConfigured, match="MW_TEST must be a whole number"):
        env_int("MW_TEST", 1)


def test_redis_addresses_for_all_three_spellings() -> None:
    assert redis_url("redis://h:1/9", 2) == "redis://h:1/2"
    assert redis_url("unix:///run/r.sock", 2) == "unix:///run/r.sock?db=2"
    assert celery_redis_url("unix:///run/r.sock", 0) == "redis+socket:///run/r.sock?virtual_host=0"
