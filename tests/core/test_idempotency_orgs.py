"""One key of one person in two organisations: two requests, not one."""

from uuid import UUID

from rest_framework.renderers import JSONRenderer
from rest_framework.response import Response

from apps.accounts import services as accounts
from apps.core.contracts import Actor
from apps.core.idempotency import run_once
from tests.cast import Api, Cast


def test_a_key_used_in_another_organisation_is_another_request(cast: Cast) -> None:
    accounts.add_member(org_id=cast.elsewhere.id, user_id=cast.alice.id, role="admin")
    alice, body = Api(cast.alice), {"name": "Warp"}
    here = alice.post(f"/orgs/{cast.org.id}/teams", body, Idempotency_Key="same")
    there = alice.post(f"/orgs/{cast.elsewhere.id}/teams", body, Idempotency_Key="same")
    assert (here.status_code, there.status_code) == (201, 201)
    assert here.json()["id"] != there.json()["id"]


def test_an_answer_is_not_replayed_in_another_organisation(cast: Cast) -> None:
    """Where the path names no organisation, only the header does: the answer of the one stays in the one."""

    def ask(org_id: UUID, said: str) -> bytes:
        answer = run_once(
            "same", actor=actor, org_id=org_id, path="/analytics/query", body=b"{}", work=lambda: Response([said])
        )
        return JSONRenderer().render(answer.data) if isinstance(answer, Response) else answer.content

    actor = Actor(kind="user", id=cast.alice.id, label="alice")
    assert ask(cast.org.id, "ours") == b'["ours"]'
    assert ask(cast.elsewhere.id, "theirs") == b'["theirs"]'
    assert ask(cast.org.id, "never said") == b'["ours"]'
