"""Who may listen, to what, and for how long."""

import asyncio
from typing import Any
from uuid import uuid4

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth import get_user_model

from apps.accounts.services import remove_member
from apps.core.tenancy import system_scope
from apps.identity import services as identity
from apps.projects import services as projects
from apps.projects.models import ApiKey
from tests.cast import PASSWORD, Cast
from tests.usage.engine.conftest import typed
from tests.usage.live.conftest import Live, _count, key_of, session_of, tell
from tests.usage.read.test_granted import reader

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.asyncio]


def bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


def access_token(name: str) -> str:
    return identity.login(email=f"{name}@example.com", password=PASSWORD).access_token


async def refused(live: Live) -> tuple[str, int]:
    """The code of the problem that a handshake is answered with, and that of the close."""
    said = await live.open()
    assert said["type"] == "error", said
    return said["problem"]["code"], await live.closed()


async def test_a_member_hears_their_organisation_by_session_token_and_key(cast: Cast, send: Any) -> None:
    headers = [
        await sync_to_async(session_of)(cast.dora),
        bearer(await sync_to_async(access_token)("bob")),
        bearer(await sync_to_async(key_of)(cast, "read")),
        {"x-api-key": await sync_to_async(key_of)(cast, "read", "ingest")},
    ]
    sockets = [Live(each) for each in headers]
    for socket in sockets:
        assert (await socket.open())["type"] == "ready"
    one = typed()
    await send(one)
    for socket in sockets:
        (heard,) = await socket.events(1)
        assert heard["event_id"] == one.event_id
        await socket.close()


async def test_another_organisations_events_are_never_heard(cast: Cast, send: Any, other_sends: Any) -> None:
    ours, theirs = Live(await sync_to_async(session_of)(cast.dora)), Live(await sync_to_async(session_of)(cast.charlie))
    await ours.open()
    await theirs.open()
    one, other = typed(), typed()
    await other_sends(other)
    assert await ours.is_silent(0.5)
    await send(one)
    assert [event["event_id"] for event in await ours.events(1)] == [one.event_id]
    assert [event["event_id"] for event in await theirs.events(1)] == [other.event_id]
    assert await theirs.is_silent(0.3)
    await ours.close()
    await theirs.close()


async def test_an_organisation_that_is_not_ones_own_is_not_there(cast: Cast) -> None:
    headers = await sync_to_async(session_of)(cast.charlie)
    for named in (str(cast.org.id), cast.org.slug, str(uuid4()), "nobody"):
        assert await refused(Live(headers, org=named)) == ("not_found", 4404)
    assert await refused(Live({**headers, "x-org-id": str(cast.org.id)})) == ("not_found", 4404)
    key = await sync_to_async(key_of)(cast, "read")
    assert await refused(Live(bearer(key), org=cast.elsewhere.slug)) == ("not_found", 4404)
    for named in (str(cast.org.id), cast.org.slug):
        mine = Live(bearer(key), org=named)
        assert (await mine.open())["type"] == "ready"
        await mine.close()


async def test_without_a_credential_that_works_nothing_is_heard(cast: Cast) -> None:
    assert await refused(Live()) == ("not_authenticated", 4401)
    assert await refused(Live(bearer("mw_nonsense"))) == ("invalid_api_key", 4401)
    assert await refused(Live(bearer("not.a.token"))) == ("invalid_token", 4401)
    session = await sync_to_async(session_of)(cast.dora)
    assert await refused(Live({"cookie": session["cookie"]})) == ("not_authenticated", 4401)
    assert await refused(Live({**session, "origin": "https://elsewhere.test"})) == ("not_authenticated", 4401)


async def test_a_key_needs_the_scope(cast: Cast) -> None:
    key = await sync_to_async(key_of)(cast, "ingest", "gateway")
    assert await refused(Live(bearer(key))) == ("scope_missing", 4403)


def revoke(cast: Cast) -> None:
    with system_scope("test"):
        key = ApiKey.objects.get(name="mine")
    projects.revoke_api_key(org_id=cast.org.id, project_id=cast.project.id, key_id=key.pk)


async def test_a_revoked_key_ends_its_socket(cast: Cast, send: Any) -> None:
    _, token = await sync_to_async(projects.create_api_key)(
        org_id=cast.org.id, project_id=cast.project.id, name="mine", scopes=("read",)
    )
    live = Live(bearer(token))
    await live.open()
    await sync_to_async(revoke)(cast)
    assert await asyncio.wait_for(live.closed(), 5) == 4401
    await send(typed())


async def test_a_session_that_ends_ends_its_socket(cast: Cast) -> None:
    headers = await sync_to_async(session_of)(cast.dora)
    live = Live(headers)
    await live.open()
    await sync_to_async(get_user_model().objects.filter(pk=cast.dora.id).update)(is_active=False)
    assert await asyncio.wait_for(live.closed(), 5) == 4401


async def test_a_membership_that_ends_ends_its_socket(cast: Cast) -> None:
    live = Live(await sync_to_async(session_of)(cast.dora), org=cast.org.slug)
    await live.open()
    await sync_to_async(remove_member)(org_id=cast.org.id, user_id=cast.dora.id)
    assert await asyncio.wait_for(live.closed(), 5) == 4404


async def test_handshakes_are_limited(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("apps.usage.consumers.MAX_SOCKETS", 1)
    headers = bearer(await sync_to_async(key_of)(cast, "read"))
    first = Live(headers)
    assert (await first.open())["type"] == "ready"
    assert await refused(Live(headers)) == ("unavailable", 4503)
    await first.close()
    again = Live(headers)
    assert (await again.open())["type"] == "ready"
    await again.close()


async def test_a_key_listens_only_from_where_it_may_be_used(cast: Cast, send: Any) -> None:
    from apps.projects.services import create_api_key

    _, token = await sync_to_async(create_api_key)(
        org_id=cast.org.id, project_id=cast.project.id, name="k", scopes=("read",), allowed_ips=["192.0.2.0/24"]
    )
    assert await refused(Live(bearer(token), client="198.51.100.7")) == ("ip_not_allowed", 4403)
    live = Live(bearer(token), client="192.0.2.10")
    assert (await live.open())["type"] == "ready"
    await live.close()


async def test_whoever_was_given_single_projects_hears_these_alone_and_only_as_long_as_they_are_given(
    cast: Cast, send: Any
) -> None:
    hugo = await sync_to_async(reader)(cast, "hugo")
    other, hidden = [
        await sync_to_async(projects.create_project)(org_id=cast.org.id, name=name) for name in ("Other", "Hidden")
    ]
    tokens = {one.id: await sync_to_async(token_of)(cast, one.id) for one in (other, hidden)}
    headers = await sync_to_async(session_of)(hugo)
    assert await refused(Live(headers, org=cast.org.slug)) == ("permission_denied", 4403)
    for project in (cast.project.id, other.id):
        await sync_to_async(projects.give_project_access)(
            org_id=cast.org.id, project_id=project, grantee_id=hugo.id, capabilities=["usage.read"]
        )
    narrow = Live(headers, org=cast.org.slug, **{"filter[project]": str(hidden.id)})
    assert await refused(narrow) == ("permission_denied", 4403)

    async def send_under(project: Any, one: Any) -> None:
        await sync_to_async(_count)(tokens[project.id], [one])
        await tell(cast.org.id)

    live = Live(headers, org=cast.org.slug)
    assert (await live.open())["filters"] == {"project": sorted([str(cast.project.id), str(other.id)])}
    secret, mine, theirs = typed(), typed(), typed()
    await send_under(hidden, secret)
    assert await live.is_silent(0.5)
    await send(mine)
    await send_under(other, theirs)
    assert [event["event_id"] for event in await live.events(2)] == [mine.event_id, theirs.event_id]
    # What was held back while it was paused is of the rights at the time when it is shown.
    await live.say("pause")
    await live.hear("paused")
    held, kept = typed(), typed()
    await send_under(other, held)
    await send(kept)
    await asyncio.sleep(0.5)
    await sync_to_async(projects.end_project_access)(org_id=cast.org.id, project_id=other.id, grantee_id=hugo.id)
    await asyncio.sleep(1.5)
    await live.say("resume")
    await live.hear("resumed")
    assert [event["event_id"] for event in await live.events(1)] == [kept.event_id]
    await send_under(other, typed())
    assert await live.is_silent(0.5)
    await sync_to_async(projects.end_project_access)(org_id=cast.org.id, project_id=cast.project.id, grantee_id=hugo.id)
    assert await asyncio.wait_for(live.closed(), 5) == 4403


def token_of(cast: Cast, project_id: Any) -> str:
    return projects.create_api_key(
        org_id=cast.org.id, project_id=project_id, name="k", scopes=("ingest",), rate_limit_per_minute=0
    )[1]
