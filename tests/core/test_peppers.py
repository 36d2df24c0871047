"""Rotating peppers: what is used comes to the new one, and the command tells when the old one may go."""

import io
import re
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from apps.core.clock import now
from apps.core.crypto import pepper_ids
from apps.identity import services as identity
from apps.projects.selectors import forget_keys, key_authenticate
from apps.projects.tokens import new_key
from apps.sso.services import authenticate_scim_token, create_scim_token
from tests.cast import PASSWORD, Cast, make_key
from tests.projects.conftest import cast  # noqa: F401 - a fixture

OLD, NEW = "old-" + "o" * 40, "new-" + "n" * 40


def told(*arguments: str) -> str:
    out = io.StringIO()
    call_command("rotate_peppers", *arguments, stdout=out)
    return out.getvalue()


def older(name: str, *arguments: str) -> int:
    found = re.search(rf"^{name}: \d+ living, (\d+) may", told(*arguments), re.M)
    assert found
    return int(found[1])


def test_keys_come_to_the_new_pepper_as_they_are_used(cast: Cast, settings: Any) -> None:  # noqa: F811
    settings.TOKEN_PEPPERS = [OLD]
    tokens = [make_key(cast)[1] for _ in range(3)]
    assert older("API keys") == 0
    settings.TOKEN_PEPPERS = [NEW, OLD]
    forget_keys()
    assert older("API keys") == 3
    for left, token in ((2, tokens[0]), (1, tokens[1]), (0, tokens[2])):
        assert key_authenticate(token) is not None
        assert older("API keys") == left
    settings.TOKEN_PEPPERS = [NEW]
    forget_keys()
    assert all(key_authenticate(token) for token in tokens)


def test_a_process_that_knows_the_new_pepper_second_takes_what_another_made_under_it(
    cast: Cast,  # noqa: F811
    settings: Any,
) -> None:
    """So the new one is appended everywhere first, and put in front after that."""
    settings.TOKEN_PEPPERS = [NEW, OLD]
    _, token = make_key(cast)
    settings.TOKEN_PEPPERS = [OLD, NEW]
    forget_keys()
    assert key_authenticate(token) is not None


def test_refresh_tokens_come_to_the_new_pepper_with_the_next_refresh(cast: Cast, settings: Any) -> None:  # noqa: F811
    settings.TOKEN_PEPPERS = [OLD]
    pair = identity.login(email=cast.bob.email, password=PASSWORD)
    settings.TOKEN_PEPPERS = [NEW, OLD]
    since = now().isoformat()
    assert older("Refresh tokens", "--since", since) == 1
    fresh = identity.refresh(refresh_token=pair.refresh_token)
    assert older("Refresh tokens", "--since", since) == 0
    settings.TOKEN_PEPPERS = [NEW]
    assert identity.refresh(refresh_token=fresh.refresh_token).refresh_token


def test_provisioning_tokens_come_to_the_new_pepper_as_they_are_used(cast: Cast, settings: Any) -> None:  # noqa: F811
    settings.TOKEN_PEPPERS = [OLD]
    _, secret = create_scim_token(org_id=cast.org.id, name="directory")
    settings.TOKEN_PEPPERS = [NEW, OLD]
    since = now().isoformat()
    assert older("Provisioning tokens", "--since", since) == 1
    assert authenticate_scim_token(secret=secret) is not None
    assert older("Provisioning tokens", "--since", since) == 0
    settings.TOKEN_PEPPERS = [NEW]
    assert authenticate_scim_token(secret=secret) is not None


def test_the_command_fails_while_an_older_pepper_is_needed_and_tells_none(cast: Cast, settings: Any) -> None:  # noqa: F811
    settings.TOKEN_PEPPERS = [OLD]
    make_key(cast)
    settings.TOKEN_PEPPERS = [NEW, OLD]
    with pytest.raises(CommandError, match="1 may depend"):
        told("--check", "--since", "2020-01-01T00:00:00Z")
    assert NEW not in told()
    assert pepper_ids()[0] in told()
    with pytest.raises(CommandError, match="zone"):
        told("--since", "2026-11-28")


def test_a_generated_secret_is_long_and_never_the_same() -> None:
    out = io.StringIO()
    call_command("generate_secret", "--count", "20", stdout=out)
    made = out.getvalue().split()
    assert len(set(made)) == 20
    assert min(map(len, made)) >= 64


def checked(monkeypatch: pytest.MonkeyPatch, *lines: str, online: bool = False) -> str:
    monkeypatch.setattr("sys.stdin", io.StringIO("\n".join(lines)))
    out = io.StringIO()
    call_command("check_key", *(["--online"] if online else []), stdout=out)
    return out.getvalue()


def test_a_string_is_told_to_be_a_key_offline_and_which_online(cast: Cast, monkeypatch: Any) -> None:  # noqa: F811
    _, token = make_key(cast, name="nightly")
    stranger = new_key()
    said = checked(monkeypatch, token, token[:-1] + "!", stranger)
    assert said.splitlines() == [
        f"{token[:9]}…: well formed", f"{token[:9]}…: no API key (prefix, length or checksum)",
        f"{stranger[:9]}…: well formed",
    ]  # fmt: skip
    said = checked(monkeypatch, token, stranger, online=True)
    assert "'nightly' of project 'Weaver', organisation 'Wonder Looms': works" in said
    assert "no key of this installation" in said
    assert token not in said
    with pytest.raises(SystemExit):
        checked(monkeypatch, "nothing")
