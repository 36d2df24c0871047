"""What the intake's loop learns of callers by itself, and what it leaves to the lane."""

import asyncio
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest

from apps.core.asking import Asker, Question, Then
from apps.core.clock import now
from apps.core.crypto import pepper_id
from apps.core.tenancy import org_scope
from apps.projects.models import ApiKey, ProjectSettings
from apps.projects.selectors import forget_keys, key_authenticate
from apps.usage.ingest import attribution
from apps.usage.ingest.attribution import directory_changed, directory_of, forget_directories, is_directory_young
from apps.usage.services import register_tag_key
from mindweave.intake.learning import Caller, Learning, known_key
from tests.usage.engine.conftest import World, make_world

pytestmark = pytest.mark.usefixtures("committed")


def caller_of(token: str) -> Caller:
    return Caller(token, "127.0.0.1", "test")


def sender(name: str, **options: Any) -> World:
    """An organisation whose key is known by the pepper of today, as all are that were made or used with it."""
    return make_world(name, pepper=pepper_id(), **options)


def learn(*tokens: str) -> list[bool]:
    """Whether each caller's key is known after it was learnt, all at once, in a process that is at work."""
    busy = make_world(f"busy-{uuid4().hex[:8]}")
    forget_keys()
    forget_directories()

    async def run() -> list[bool]:
        learning = Learning(asyncio.get_running_loop())
        asker = learning._asker
        while asker.is_opening:
            await asyncio.sleep(0.01)
        # Versions and changes have just been looked at, as they are while requests come.
        key_authenticate(busy.token)
        attribution._hear()
        told: list[Caller] = []
        callers = [caller_of(token) for token in tokens]
        try:
            for caller in callers:
                learning.learn(caller, lambda caller=caller: told.append(caller))  # type: ignore[misc]
            for _ in range(500):
                if len(told) == len(callers):
                    break
                await asyncio.sleep(0.01)
            assert sorted(told) == sorted(callers)
            return [known_key(caller) is not None for caller in callers]
        finally:
            learning.close()

    # What Django would refuse on a loop is asked of it here only to set the scene.
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "true")
        return asyncio.run(run())


def test_keys_and_people_are_learnt_as_a_thread_would_read_them() -> None:
    world, other = sender("one"), sender("other")
    register_tag_key(org_id=world.org_id, key="department")
    assert learn(world.token, other.token, world.token) == [True] * 3
    learnt, people = known_key(caller_of(world.token)), directory_of(world.org_id)
    forget_keys()
    forget_directories()
    assert key_authenticate(world.token) == learnt
    read = directory_of(world.org_id)
    assert (read.members, read.by_email, read.primary_team, read.tag_keys) == (
        people.members, people.by_email, people.primary_team, people.tag_keys,
    )  # fmt: skip
    assert read.members
    assert read.tag_keys == ("department",)


def test_what_is_dead_unknown_or_unusual_is_left_to_the_lane() -> None:
    names = ("usual", "revoked", "expired", "reader", "ruled")
    usual, revoked, expired, reader, ruled = (sender(name) for name in names)
    old = make_world("old")
    for one, changes in (
        (revoked, {"revoked_at": now()}),
        (expired, {"expires_at": now() - timedelta(seconds=1)}),
        (reader, {"scopes": ["read"]}),
    ):
        with org_scope(one.org_id):
            ApiKey.objects.filter(org_id=one.org_id).update(**changes)
    with org_scope(ruled.org_id):
        ProjectSettings.objects.create(org_id=ruled.org_id, project_id=ruled.project_id)
    tokens = [each.token for each in (revoked, expired, reader, ruled, old, usual)]
    assert learn(*tokens, "mw_unknown", "", usual.token[:-1] + "x") == [False] * 5 + [True] + [False] * 3
    # The lane reads what is unusual, and it is known then.
    for one in (ruled, old):
        assert key_authenticate(one.token) is not None
        assert directory_of(one.org_id)
        assert known_key(caller_of(one.token)) is not None
    assert learn(old.token) == [True], "its first use keeps it under the pepper of today"


def test_what_many_wait_for_is_asked_once_and_what_cannot_be_kept_holds_up_nobody(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    asked: list[str] = []
    ask = Asker.ask

    def counted(self: Asker, question: Question, then: Then) -> None:
        asked.append(question.statement)
        ask(self, question, then)

    monkeypatch.setattr(Asker, "ask", counted)
    one, other = sender("one"), sender("other")
    assert learn(*[one.token] * 20, other.token, *[one.token] * 20) == [True] * 41
    assert len(asked) == 4, "two keys, and the people of two organisations"

    def broken(*_: object) -> bool:
        raise ValueError("broken")

    for name in ("key_heard", "directory_heard"):
        with monkeypatch.context() as patch:
            patch.setattr(f"mindweave.intake.learning.{name}", broken)
            assert learn(one.token, one.token, other.token) == [False] * 3
    assert caplog.text.count("ValueError: broken") == 4


def test_people_that_changed_while_they_were_read_are_not_kept(world: World) -> None:
    forget_directories()
    attribution._hear()
    asked = attribution.directory_asked(world.org_id)
    assert asked is not None
    question, heard = asked
    rows = attribution.read_often(*question)
    directory_changed(world.org_id)
    attribution._hear()
    attribution.directory_heard(world.org_id, heard, rows)
    assert not is_directory_young(world.org_id)
    assert directory_of(world.org_id).members
    assert is_directory_young(world.org_id)
