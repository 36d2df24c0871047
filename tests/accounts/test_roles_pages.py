"""Settings: roles, the access review, and the panels that give rights on one project or team."""

import re
from typing import Any

from apps.accounts import access, selectors, services
from apps.accounts.permissions import GROUPS
from apps.core.clock import now
from apps.projects import grants
from apps.teams.grants import team_grants
from tests.cast import Api, Cast, make_key, make_person


def url(cast: Cast, tail: str) -> str:
    return f"/o/{cast.org.slug}/{tail}"


def page(client: Any, address: str, status: int = 200) -> str:
    answer = client.get(address)
    assert answer.status_code == status
    return re.sub(r"\s+", " ", answer.content.decode())


def boxes(*capabilities: str) -> dict[str, list[str]]:
    """The fields of the form that stand for permissions."""
    found: dict[str, list[str]] = {}
    for number, permissions in enumerate(GROUPS.values()):
        chosen = [each.name for each in permissions if each.name in capabilities]
        if chosen:
            found[f"group{number}"] = chosen
    return found


def test_a_role_is_made_given_changed_and_deleted_on_pages(cast) -> None:
    erin = Api(cast.erin).client
    assert "New role" in page(erin, url(cast, "settings/roles"))
    assert "Delete the organisation" not in page(erin, url(cast, "settings/roles/new"))
    answer = erin.post(url(cast, "settings/roles/new"), {"name": "Auditor", **boxes("usage.read", "audit.read")})
    assert answer.status_code == 302
    role = next(each for each in selectors.roles_of_org(cast.org.id) if each.name == "Auditor")
    assert role.capabilities == {"usage.read", "audit.read"}
    assert "Auditor" in page(erin, url(cast, f"settings/members/{cast.dora.id}"))
    assert erin.post(url(cast, f"settings/members/{cast.dora.id}"), {"role": role.key}).status_code == 302
    own = url(cast, f"settings/roles/{role.id}")
    assert "Dora" in page(erin, own)
    assert erin.post(own, {"name": "Reader", **boxes("usage.read")}).status_code == 302
    assert selectors.capabilities_for(org_id=cast.org.id, user_id=cast.dora.id) == {"usage.read"}
    assert erin.post(f"{own}/delete", {"replacement": "viewer"}).status_code == 302
    assert selectors.role_of(org_id=cast.org.id, user_id=cast.dora.id) == "viewer"
    assert page(erin, own, 404)


def test_what_is_no_role_is_said_on_the_form(cast) -> None:
    erin = Api(cast.erin).client
    answer = erin.post(url(cast, "settings/roles/new"), {"name": "Nothing"})
    assert (answer.status_code, b"Choose at least one permission" in answer.content) == (400, True)
    answer = erin.post(url(cast, "settings/roles/new"), {"name": "Owner", **boxes("usage.read")})
    assert (answer.status_code, b"built-in role" in answer.content) == (400, True)
    assert len(selectors.roles_of_org(cast.org.id)) == 5


def test_whoever_holds_less_sees_a_role_and_cannot_change_it(cast) -> None:
    gina = make_person("gina")
    keeper = services.create_role(
        org_id=cast.org.id, name="Keeper", capabilities=["member.read", "role.manage", "usage.read"]
    )
    above = services.create_role(org_id=cast.org.id, name="Auditor", capabilities=["audit.read"])
    services.add_member(org_id=cast.org.id, user_id=gina.id, role=keeper.key)
    client = Api(gina).client
    assert "Above your own role" in page(client, url(cast, f"settings/roles/{above.id}"))
    assert client.post(url(cast, f"settings/roles/{above.id}"), {"name": "x", **boxes("usage.read")}).status_code == 403
    client.post(url(cast, f"settings/roles/{above.id}/delete"))
    assert selectors.role_get(org_id=cast.org.id, role_id=above.id).name == "Auditor"
    offered = page(client, url(cast, "settings/roles/new"))
    assert ('value="usage.read"' in offered, 'value="audit.read"' in offered) == (True, False)
    assert "You are Keeper" in page(client, url(cast, "settings/members"))


def test_a_viewer_sees_roles_and_no_button(cast) -> None:
    seen = page(Api(cast.dora).client, url(cast, "settings/roles"))
    assert "Made by owners and admins" in seen
    assert "settings/roles/new" not in seen


def test_the_page_of_the_review_lists_filters_and_confirms(cast) -> None:
    make_key(cast, name="robot")
    erin = Api(cast.erin).client
    seen = page(erin, url(cast, "settings/access"))
    assert "Never reviewed" in seen
    assert "alice@<wbr>example.com" in seen
    assert "robot" in page(erin, url(cast, "settings/access?kind=service_accounts"))
    admins = page(erin, url(cast, "settings/access?admins=true"))
    assert ("Erin" in admins, "frank@example.com" in admins) == (True, False)
    assert erin.post(url(cast, "settings/access"), {"note": "", "next_due": "2000-01-01"}).status_code == 400
    assert access.last_reviews(cast.org.id) == []
    due = now().date() + access.REVIEW_EVERY
    assert erin.post(url(cast, "settings/access"), {"note": "Fine", "next_due": due.isoformat()}).status_code == 302
    assert "Fine" in page(erin, url(cast, "settings/access"))
    answer = erin.get(url(cast, "settings/access.csv?kind=members"))
    assert b"alice@example.com" in b"".join(answer.streaming_content)


def test_rights_on_one_project_are_given_and_taken_on_its_page(cast) -> None:
    erin, tail = Api(cast.erin).client, f"projects/{cast.project.slug}"
    assert "Give access" in page(erin, url(cast, f"{tail}/access"))
    assert page(Api(cast.dora).client, url(cast, f"{tail}/access"), 403)
    assert "Access</a>" not in page(Api(cast.dora).client, url(cast, tail))
    erin.post(url(cast, f"{tail}/access"), {"grantee": str(cast.dora.id), "capabilities": ["key.manage"]})
    [given] = grants.project_grants(org_id=cast.org.id, project_id=cast.project.id)
    assert (given.id, given.capabilities) == (cast.dora.id, ("project.read", "key.manage"))
    assert "Make the key" in page(Api(cast.dora).client, url(cast, tail))
    assert Api(cast.dora).client.post(url(cast, f"{tail}/access"), {"grantee": str(cast.dora.id)}).status_code == 403
    erin.post(url(cast, f"{tail}/access/{cast.dora.id}/end"))
    assert grants.project_grants(org_id=cast.org.id, project_id=cast.project.id) == []
    assert "Choose a member" in erin.post(url(cast, f"{tail}/access"), {}, follow=True).content.decode()


def test_rights_on_one_team_are_given_and_taken_on_its_page(cast) -> None:
    erin, tail = Api(cast.erin).client, f"settings/teams/{cast.team.slug}"
    erin.post(url(cast, f"{tail}/access"), {"grantee": str(cast.dora.id), "capabilities": ["team.manage"]})
    assert [given.id for given in team_grants(org_id=cast.org.id, team_id=cast.team.id)] == [cast.dora.id]
    assert "Give access" in page(Api(cast.dora).client, url(cast, tail))
    erin.post(url(cast, f"{tail}/access/{cast.dora.id}/end"))
    assert team_grants(org_id=cast.org.id, team_id=cast.team.id) == []
