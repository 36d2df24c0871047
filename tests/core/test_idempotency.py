"""A POST with an Idempotency-Key does nothing twice."""

from datetime import timedelta
from typing import Any

import pytest

from apps.core import clock
from apps.core.idempotency import forget_old_answers
from apps.core.models import IdempotencyRecord
from apps.core.tenancy import org_scope
from apps.projects.models import ApiKey, Project
from tests.cast import Api, Cast, at_once, make_cast


def projects(cast: Cast) -> int:
    with org_scope(cast.org.id):
        return Project.objects.count()


def create(cast: Cast, name: str = "Shuttle", key: str = "k1", who: Any = None) -> Any:
    path = f"/orgs/{cast.org.id}/projects"
    return Api(who or cast.alice).post(path, {"name": name}, Idempotency_Key=key)


def test_the_same_request_again_gets_the_same_answer_and_does_nothing(cast: Cast) -> None:
    first, second = create(cast), create(cast)
    assert (first.status_code, second.status_code) == (201, 201)
    assert first.json() == second.json()
    assert second["Idempotency-Replayed"] == "true"
    assert projects(cast) == 2


def test_another_body_under_the_same_key_is_422(cast: Cast) -> None:
    create(cast)
    answer = create(cast, name="Other")
    assert (answer.status_code, answer.json()["code"]) == (422, "idempotency_key_reused")
    assert projects(cast) == 2


def test_a_key_is_its_callers_own(cast: Cast) -> None:
    assert create(cast).json()["id"] != create(cast, who=cast.erin).json()["id"]


def test_a_refusal_is_not_kept(cast: Cast) -> None:
    assert create(cast, name=" ").status_code == 400
    assert create(cast).status_code == 201


def test_a_secret_shown_once_is_shown_again_only_to_the_repeated_request(cast: Cast) -> None:
    path, body = f"/projects/{cast.project.id}/keys", {"name": "ci", "scopes": ["ingest"]}
    first = Api(cast.alice).post(path, body, Idempotency_Key="k")
    second = Api(cast.alice).post(path, body, Idempotency_Key="k")
    assert first.json()["key"] == second.json()["key"]
    record = IdempotencyRecord.objects.get()
    assert first.json()["key"].encode() not in bytes(record.answer or b"")
    with org_scope(cast.org.id):
        assert ApiKey.objects.count() == 1


@pytest.mark.parametrize("key", ["", "x" * 256, "a\tb"])
def test_a_key_that_is_none_is_refused(key: str, cast: Cast) -> None:
    assert create(cast, key=key).status_code == 400
    assert projects(cast) == 1


def test_after_a_day_a_key_may_be_used_anew(cast: Cast) -> None:
    first = create(cast)
    with clock.freeze(clock.now() + timedelta(hours=25)):
        assert create(cast).json()["id"] != first.json()["id"]
        IdempotencyRecord.objects.update(created_at=clock.now() - timedelta(hours=30))
        assert forget_old_answers() == 1


@pytest.mark.django_db(transaction=True)
def test_two_at_once_make_one() -> None:
    cast = make_cast()
    answers = at_once(lambda: create(cast), lambda: create(cast), lambda: create(cast))
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert projects(cast) == 2
