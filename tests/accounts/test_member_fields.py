"""Where an organisation has more members than a list is good for, pages ask for an address instead."""

import pytest

from apps.accounts import member_fields, selectors
from apps.projects import selectors as projects
from apps.teams import selectors as teams
from apps.teams.services import create_team
from tests.cast import Api, Cast, make_key, trail


@pytest.fixture(autouse=True)
def _large(monkeypatch) -> None:
    monkeypatch.setattr(member_fields, "LISTED", 3)


def text_of(client, path: str) -> str:
    return client.get(path).content.decode()


def test_a_team_takes_a_member_by_address_and_no_stranger(cast: Cast) -> None:
    client, page = Api(cast.alice).client, f"/o/{cast.org.slug}/settings/teams/{cast.team.slug}"
    text = text_of(client, page)
    assert "frank@example.com" not in text
    assert 'placeholder="name@…"' in text
    for address in (" Frank@Example.com", "charlie@example.com", "nobody@example.com", ""):
        client.post(f"{page}/members", {"user_id": address})
    inside = {row.user_id for row in teams.team_members(org_id=cast.org.id, team_id=cast.team.id)}
    assert inside == {cast.bob.id, cast.frank.id}


def test_rights_are_given_by_address_or_by_the_name_of_a_team(cast: Cast) -> None:
    client, page = Api(cast.alice).client, f"/o/{cast.org.slug}/projects/{cast.project.slug}/access"
    assert "dora@example.com" not in text_of(client, page)
    # A team that calls itself by somebody's address does not come before them.
    create_team(org_id=cast.org.id, name="Dora@example.com")
    for grantee in ("dora@example.com", "LOOM", "charlie@example.com", "Warp"):
        client.post(page, {"grantee": grantee, "capabilities": ["key.read"]})
    given = [entry.changes for entry in trail("project.access_changed")]
    assert [each.get("user_id") or each.get("team_id") for each in given] == [
        [None, str(cast.dora.id)],
        [None, str(cast.team.id)],
    ]


def test_an_owner_is_made_by_address(cast: Cast) -> None:
    client, page = Api(cast.alice).client, f"/o/{cast.org.slug}/settings/owner"
    assert 'placeholder="name@…"' in text_of(client, f"/o/{cast.org.slug}/settings/danger")
    refused = client.post(page, {"user_id": "charlie@example.com", "stay_owner": "on"})
    assert (refused.status_code, "No member has this address." in refused.content.decode()) == (400, True)
    assert client.post(page, {"user_id": "erin@example.com", "stay_owner": "on"}).status_code == 302
    assert selectors.role_of(org_id=cast.org.id, user_id=cast.erin.id) == "owner"


def test_a_key_is_made_for_an_address_and_changes_hands_by_one(cast: Cast) -> None:
    client, project = Api(cast.alice).client, f"/o/{cast.org.slug}/projects/{cast.project.slug}"
    assert "bob@example.com" not in text_of(client, project)
    key, _ = make_key(cast, owner_id=cast.bob.id)
    page = f"{project}/keys/{key.id}"
    text = text_of(client, page)
    assert 'value="bob@example.com"' in text
    kept = {"name": key.name, "allowed_ips": "", "rate_limit_per_minute": "", "environment": ""}
    owners = []
    for whose in ("erin@example.com", "charlie@example.com", "service"):
        client.post(page, {**kept, "owner": whose})
        owners.append(projects.key_list(org_id=cast.org.id).get(pk=key.id).owner_id)
    assert owners == [cast.erin.id, cast.erin.id, None]
