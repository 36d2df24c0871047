"""The settings of an organisation on the web: what each form does and refuses, and for whom."""

import re
from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from apps.accounts import selectors as accounts
from apps.accounts import services as members
from apps.identity.models import User
from apps.projects.selectors import key_authenticate, key_list
from apps.projects.services import revoke_api_key
from apps.teams import selectors as teams
from apps.teams.services import add_team_member, create_team
from apps.usage.pricing.book import TOKEN_KINDS
from apps.usage.selectors import tag_keys
from apps.usage.selectors.prices import price_for, price_list
from apps.usage.services import price_set, register_tag_key
from tests.cast import trail
from tests.web.conftest import Cast, browser, event, person
from tests.web.test_projects import shown_key

HOSTILE = "<script>alert(1)</script>\"' & co"


def member(cast: Cast, name: str, role: str) -> Client:
    user = person(name)
    members.add_member(org_id=cast.org.id, user_id=user.id, role=role)
    return browser(user)


def user_id(cast: Cast, email: str) -> UUID:
    return next(one.user_id for one in accounts.member_infos(cast.org.id) if one.email == email)


def once(client: Client, page: str) -> str:
    found = re.search(r'name="once" value="(\w+)"', client.get(page).content.decode())
    assert found is not None
    return found[1]


def text_of(answer: Any) -> str:
    """A page, without where its addresses may break."""
    return answer.content.decode().replace("<wbr>", "")


def words(body: str) -> str:
    """What is read of a page."""
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", "", body))


# ---------------------------------------------------------------- general
def test_the_name_and_zone_are_changed_and_on_record(cast: Cast) -> None:
    page = cast.url("settings")
    answer = cast.owner.post(page, {"name": "Loom and Sons", "timezone": "Asia/Tokyo"}, follow=True)
    assert "Saved." in text_of(answer)
    org = accounts.org_get(cast.org.id)
    assert (org.name, org.timezone) == ("Loom and Sons", "Asia/Tokyo")
    entry = trail("org.updated")[-1]
    assert entry.actor_id == cast.olive.id
    assert entry.target_label == "Loom and Sons"


@pytest.mark.parametrize("form", [{"name": " ", "timezone": "UTC"}, {"name": "X", "timezone": "Mars/Olympus"}])
def test_a_wrong_name_or_zone_changes_nothing(cast: Cast, form: dict[str, str]) -> None:
    answer = cast.owner.post(cast.url("settings"), form)
    assert answer.status_code == 400
    assert "mw-err" in text_of(answer)
    assert accounts.org_get(cast.org.id).name == "Loom & Co"


def test_a_zone_that_is_not_offered_is_kept_when_the_name_changes(cast: Cast) -> None:
    members.update_organization(org_id=cast.org.id, changes={"timezone": "EST5EDT"})
    assert cast.owner.post(cast.url("settings"), {"name": "New", "timezone": "EST5EDT"}).status_code == 302
    assert accounts.org_get(cast.org.id).timezone == "EST5EDT"


def test_who_may_only_look_sees_facts_and_no_form(cast: Cast) -> None:
    for client in (cast.viewer, cast.billing, member(cast, "dev", "developer")):
        body = text_of(client.get(cast.url("settings")))
        assert "Europe/Berlin" in body
        assert 'name="timezone"' not in body
        assert "settings/delete" not in body
        assert client.post(cast.url("settings"), {"name": "Mine", "timezone": "UTC"}).status_code == 403
        assert client.post(cast.url("settings/delete"), {"confirm": "loom-co"}).status_code == 403
    assert accounts.org_get(cast.org.id).name == "Loom & Co"


def test_an_admin_changes_and_does_not_delete(cast: Cast) -> None:
    admin = member(cast, "ada", "admin")
    assert admin.post(cast.url("settings"), {"name": "Ada's", "timezone": "UTC"}).status_code == 302
    assert "settings/delete" not in text_of(admin.get(cast.url("settings")))
    assert admin.post(cast.url("settings/delete"), {"confirm": "loom-co"}).status_code == 403
    assert accounts.org_find(cast.org.id) is not None


def test_an_organisation_is_deleted_only_by_its_short_name(cast: Cast) -> None:
    wrong = cast.owner.post(cast.url("settings/delete"), {"confirm": "loom"})
    assert wrong.status_code == 400
    assert "not the short name" in text_of(wrong)
    assert accounts.org_find(cast.org.id) is not None
    assert cast.owner.post(cast.url("settings/delete"), {"confirm": "loom-co"}).status_code == 302
    assert accounts.org_find(cast.org.id) is None
    assert key_authenticate(cast.token) is None
    assert cast.owner.get(cast.url("settings")).status_code == 404


def test_a_member_leaves_and_the_last_owner_stays(cast: Cast) -> None:
    assert cast.viewer.post(cast.url("settings/leave")).status_code == 302
    assert cast.viewer.get(cast.url()).status_code == 404
    answer = cast.owner.post(cast.url("settings/leave"), follow=True)
    assert "Make somebody else an owner first" in text_of(answer)
    assert cast.owner.get(cast.url()).status_code == 200


def test_the_tabs_are_those_that_open(cast: Cast) -> None:
    viewer, billing = (text_of(client.get(cast.url("settings"))) for client in (cast.viewer, cast.billing))
    for tab in ("members", "teams", "tags", "prices"):
        assert f'href="/o/loom-co/settings/{tab}"' in viewer
    assert 'href="/o/loom-co/settings/members"' not in billing
    assert 'href="/o/loom-co/settings/prices"' in billing


@pytest.mark.parametrize("path", ["", "/members", "/teams", "/tags", "/prices"])
def test_another_organisation_looks_like_none(cast: Cast, path: str) -> None:
    assert cast.stranger.get(cast.url(f"settings{path}")).status_code == 404
    assert cast.nobody.get(cast.url(f"settings{path}")).headers["Location"].startswith("/login")


# ---------------------------------------------------------------- members
def test_somebody_is_invited_once_and_a_member_is_not(cast: Cast) -> None:
    form = {"email": "Nora@Loom.test", "role": "developer"}
    answer = cast.owner.post(cast.url("settings/members"), form, follow=True)
    assert "nora@loom.test was asked to join as developer." in text_of(answer)
    again = cast.owner.post(cast.url("settings/members"), form)
    assert again.status_code == 400
    assert "They have an open invitation" in text_of(again)
    member_already = cast.owner.post(cast.url("settings/members"), {"email": "vic@loom.test", "role": "viewer"})
    assert member_already.status_code == 400
    assert "They are a member already" in text_of(member_already)
    assert len(accounts.member_infos(cast.org.id)) == 3
    assert [entry.target_label for entry in trail("invitation.created")] == ["nora@loom.test"]


def test_an_admin_gives_no_role_above_their_own(cast: Cast) -> None:
    admin, nora = member(cast, "ada", "admin"), person("nora")
    page = text_of(admin.get(cast.url("settings/members")))
    assert 'value="owner"' not in page
    assert admin.post(cast.url("settings/members"), {"email": nora.email, "role": "owner"}).status_code == 400
    owner = cast.url(f"settings/members/{cast.olive.id}")
    assert "given and taken by those who hold all that it does: owner." in text_of(admin.get(owner))
    assert admin.post(owner, {"role": "viewer"}).status_code == 403
    assert admin.post(f"{owner}/remove").status_code == 403
    assert accounts.role_of(org_id=cast.org.id, user_id=cast.olive.id) == "owner"


def test_a_role_is_changed_and_the_last_owner_keeps_theirs(cast: Cast) -> None:
    vic = user_id(cast, "vic@loom.test")
    answer = cast.owner.post(cast.url(f"settings/members/{vic}"), {"role": "admin"}, follow=True)
    assert "Vic is now admin here." in text_of(answer)
    assert accounts.role_of(org_id=cast.org.id, user_id=vic) == "admin"
    refused = cast.owner.post(cast.url(f"settings/members/{cast.olive.id}"), {"role": "viewer"})
    assert refused.status_code == 400
    assert "The last owner" in text_of(refused)
    assert accounts.role_of(org_id=cast.org.id, user_id=cast.olive.id) == "owner"


def test_a_member_is_removed_and_removing_again_finds_nobody(cast: Cast) -> None:
    path = cast.url(f"settings/members/{user_id(cast, 'vic@loom.test')}/remove")
    assert "Vic was removed." in text_of(cast.owner.post(path, follow=True))
    assert cast.viewer.get(cast.url()).status_code == 404
    assert cast.owner.post(path).status_code == 404
    assert len(trail("member.removed")) == 1


def test_removing_oneself_is_leaving_and_done_elsewhere(cast: Cast) -> None:
    path = cast.url(f"settings/members/{cast.olive.id}/remove")
    assert "To leave" in text_of(cast.owner.post(path, follow=True))
    assert accounts.role_of(org_id=cast.org.id, user_id=cast.olive.id) == "owner"


def test_viewers_and_developers_see_members_and_change_none(cast: Cast) -> None:
    vic = user_id(cast, "vic@loom.test")
    for client in (cast.viewer, member(cast, "dev", "developer")):
        body = text_of(client.get(cast.url("settings/members")))
        assert "olive@loom.test" in body
        assert 'name="email"' not in body
        assert 'name="role"' not in text_of(client.get(cast.url(f"settings/members/{vic}")))
        form = {"email": "otto@loom.test", "role": "viewer"}
        assert client.post(cast.url("settings/members"), form).status_code == 403
        assert client.post(cast.url(f"settings/members/{vic}"), {"role": "admin"}).status_code == 403
        assert client.post(cast.url(f"settings/members/{vic}/remove")).status_code == 403
    assert accounts.role_of(org_id=cast.org.id, user_id=vic) == "viewer"
    assert cast.billing.get(cast.url("settings/members")).status_code == 403


def test_a_member_of_another_organisation_is_nobody_here(cast: Cast) -> None:
    otto = next(one.user_id for one in accounts.member_infos(cast.other.id))
    assert cast.owner.get(cast.url(f"settings/members/{otto}")).status_code == 404
    assert cast.owner.post(cast.url(f"settings/members/{otto}/remove")).status_code == 404
    assert accounts.role_of(org_id=cast.other.id, user_id=otto) == "owner"


def test_members_are_searched_paged_and_counted(cast: Cast) -> None:
    for number in range(30):
        member(cast, f"weaver{number:02}", "viewer")
    page = cast.url("settings/members")
    first, second = text_of(cast.owner.get(page)), text_of(cast.owner.get(f"{page}?page=2"))
    assert "1–25 of 33" in words(first)
    assert "26–33 of 33" in words(second)
    assert "weaver29@loom.test" in second
    assert "weaver29@loom.test" not in first
    found = text_of(cast.owner.get(f"{page}?q=WEAVER0"))
    assert "10 members found" in words(found)
    assert "bill@loom.test" not in found
    assert "Nobody found" in text_of(cast.owner.get(f"{page}?q=nobody-at-all"))
    for odd in ("page=0", "page=x", "page=-1", "page=99999999999", "q=%00", "page=99", "q=%25", "q=_"):
        assert cast.owner.get(f"{page}?{odd}").status_code == 200


def test_a_last_sign_in_and_teams_are_shown_where_known(cast: Cast) -> None:
    User.objects.filter(email="vic@loom.test").update(last_login=timezone.now() - timedelta(days=3))
    User.objects.filter(email="bill@loom.test").update(last_login=None)
    team = create_team(org_id=cast.org.id, name="Warp")
    add_team_member(org_id=cast.org.id, team_id=team.id, user_id=user_id(cast, "vic@loom.test"))
    body = text_of(cast.owner.get(cast.url("settings/members")))
    assert "3 d ago" in body
    assert "not known" in body
    assert "Warp" in body


def test_members_cost_as_many_queries_as_one(cast: Cast) -> None:
    page = cast.url("settings/members")
    cast.owner.get(page)

    def count() -> int:
        with CaptureQueriesContext(connection) as captured:
            cast.owner.get(page)
        return len(captured)

    few = count()
    team = create_team(org_id=cast.org.id, name="Warp")
    for number in range(5):
        user = person(f"weaver{number}")
        members.add_member(org_id=cast.org.id, user_id=user.id, role="viewer")
        add_team_member(org_id=cast.org.id, team_id=team.id, user_id=user.id)
    assert count() == few


# ---------------------------------------------------------------- teams
def test_a_team_is_made_once_however_often_its_form_is_sent(cast: Cast) -> None:
    page = cast.url("settings/teams")
    form = {"name": "Night Weft", "once": once(cast.owner, page)}
    assert cast.owner.post(page, form).headers["Location"] == cast.url("settings/teams/night-weft")
    assert cast.owner.post(page, form).headers["Location"] == page
    assert list(teams.team_names(cast.org.id).values()) == ["Night Weft"]
    assert len(trail("team.created")) == 1


def test_a_team_without_a_name_is_not_made(cast: Cast) -> None:
    page = cast.url("settings/teams")
    assert cast.owner.post(page, {"name": "  ", "once": once(cast.owner, page)}).status_code == 400
    assert teams.team_names(cast.org.id) == {}


def test_a_team_is_renamed_and_does_not_come_to_stand_below_itself(cast: Cast) -> None:
    above = create_team(org_id=cast.org.id, name="Above")
    below = create_team(org_id=cast.org.id, name="Below", parent_id=above.id)
    page = cast.url("settings/teams/above")
    # A team with parts is offered no other to be part of, and what is sent all the same is not taken.
    assert "parent_id" not in cast.owner.get(page).content.decode()
    cast.owner.post(page, {"name": "Above", "parent_id": str(below.id)})
    assert teams.team_get(org_id=cast.org.id, team_id=above.id).parent_id is None
    assert cast.owner.post(page, {"name": "On top", "parent_id": ""}).status_code == 302
    assert teams.team_get(org_id=cast.org.id, team_id=above.id).name == "On top"
    assert "Part of On top" in text_of(cast.owner.get(cast.url("settings/teams/below")))


def test_people_are_put_into_a_team_and_taken_out(cast: Cast) -> None:
    team = create_team(org_id=cast.org.id, name="Warp")
    vic = user_id(cast, "vic@loom.test")
    page = cast.url("settings/teams/warp")
    for _ in range(2):
        cast.owner.post(f"{page}/members", {"user_id": str(vic)})
    assert teams.is_team_member(org_id=cast.org.id, team_id=team.id, user_id=vic)
    assert len(trail("team.member_added")) == 1
    assert "vic@loom.test" in text_of(cast.owner.get(page))
    cast.owner.post(f"{page}/members/{vic}/remove")
    assert not teams.is_team_member(org_id=cast.org.id, team_id=team.id, user_id=vic)
    assert cast.owner.post(f"{page}/members/{vic}/remove").status_code == 404
    otto = next(one.user_id for one in accounts.member_infos(cast.other.id))
    answer = cast.owner.post(f"{page}/members", {"user_id": str(otto)}, follow=True)
    assert "Choose a member of the organisation." in text_of(answer)
    assert teams.team_members(org_id=cast.org.id, team_id=team.id).count() == 0


def test_a_team_is_deleted_and_its_people_stay(cast: Cast) -> None:
    team = create_team(org_id=cast.org.id, name="Warp")
    add_team_member(org_id=cast.org.id, team_id=team.id, user_id=cast.olive.id)
    path = cast.url("settings/teams/warp/delete")
    assert "Team Warp was deleted." in text_of(cast.owner.post(path, follow=True))
    assert cast.owner.post(path).status_code == 404
    assert accounts.role_of(org_id=cast.org.id, user_id=cast.olive.id) == "owner"


def test_who_may_only_look_changes_no_team(cast: Cast) -> None:
    create_team(org_id=cast.org.id, name="Warp")
    dev = member(cast, "dev", "developer")
    for client in (cast.viewer, dev):
        body = text_of(client.get(cast.url("settings/teams/warp")))
        assert 'name="name"' not in body
        assert 'name="user_id"' not in body
        assert client.post(cast.url("settings/teams"), {"name": "Mine", "once": "a"}).status_code == 403
        assert client.post(cast.url("settings/teams/warp"), {"name": "Mine"}).status_code == 403
        assert client.post(cast.url("settings/teams/warp/delete")).status_code == 403
        assert client.post(cast.url("settings/teams/warp/members"), {"user_id": "x"}).status_code == 403
    assert list(teams.team_names(cast.org.id).values()) == ["Warp"]


def test_a_team_of_another_organisation_is_none(cast: Cast) -> None:
    create_team(org_id=cast.other.id, name="Theirs")
    assert cast.owner.get(cast.url("settings/teams/theirs")).status_code == 404
    assert cast.owner.post(cast.url("settings/teams/theirs/delete")).status_code == 404
    assert list(teams.team_names(cast.other.id).values()) == ["Theirs"]


# ---------------------------------------------------------------- tags
def test_a_tag_key_is_added_once_counts_values_and_is_removed(cast: Cast, send) -> None:
    page = cast.url("settings/tags")
    assert "No tags yet" in text_of(cast.owner.get(page))
    assert cast.owner.post(page, {"key": "cost_center"}).status_code == 302
    again = cast.owner.post(page, {"key": "cost_center"})
    assert again.status_code == 400
    assert "is a tag key already" in text_of(again)
    send(*(event(metadata=f'{{"cost_center": "{name}"}}'.encode()) for name in ("a", "b", "a")))
    body = text_of(cast.owner.get(page))
    assert re.search(r"cost_center</code></th><td class=\"mw-n\"><data[^>]*>2</data>", body)
    assert cast.owner.post(f"{page}/remove", {"key": "cost_center"}).status_code == 302
    assert cast.owner.post(f"{page}/remove", {"key": "cost_center"}).status_code == 404
    assert tag_keys(cast.org.id) == []


def test_who_may_only_look_changes_no_tags(cast: Cast) -> None:
    register_tag_key(org_id=cast.org.id, key="region")
    for client in (cast.viewer, cast.billing, member(cast, "dev", "developer")):
        body = text_of(client.get(cast.url("settings/tags")))
        assert "region" in body
        assert 'name="key"' not in body
        assert client.post(cast.url("settings/tags"), {"key": "mine"}).status_code == 403
        assert client.post(cast.url("settings/tags/remove"), {"key": "region"}).status_code == 403
    assert tag_keys(cast.org.id) == ["region"]


# ---------------------------------------------------------------- prices
def price(**fields: str) -> dict[str, str]:
    return {
        "model": "claude-haiku-4-5", "valid_from": "2026-01-01", "input": "0.5", "output": "2.5", "cache_read": "0.05",
        "cache_write_5m": "0.6", "cache_write_1h": "1", "web_search": "0.01", "multipliers": "batch 0.5\ngeo:us 1.1",
        "source": "Contract 7", **fields,
    }  # fmt: skip


def test_an_own_price_goes_before_the_list_price_and_can_be_ended(cast: Cast) -> None:
    page = cast.url("settings/prices")
    assert cast.owner.post(page, price()).status_code == 302
    found = price_for(org_id=cast.org.id, model="claude-haiku-4-5")
    assert found is not None
    assert found.own
    assert found.units["input"] == Decimal("0.5")
    assert found.multipliers == {"batch": "0.5", "geo:us": "1.1"}
    assert found.valid_from.isoformat() == "2025-12-31T23:00:00+00:00", "midnight in Berlin"
    body = text_of(cast.owner.get(f"{page}?q=haiku-4-5"))
    assert "yours applies" in body
    assert "Contract 7" in body
    theirs = price_for(org_id=cast.other.id, model="claude-haiku-4-5")
    assert theirs is not None
    assert not theirs.own
    assert cast.owner.post(f"{page}/{found.id}/end").status_code == 302
    assert not price_for(org_id=cast.org.id, model="claude-haiku-4-5").own
    assert "not in force" in text_of(cast.owner.post(f"{page}/{found.id}/end", follow=True))
    assert {entry.org_id for entry in trail("price.set")} == {cast.org.id}


def test_a_price_sent_twice_is_one_price(cast: Cast) -> None:
    page = cast.url("settings/prices")
    cast.owner.post(page, price())
    again = cast.owner.post(page, price())
    assert again.status_code == 400
    assert "would overlap" in text_of(again)
    assert len([one for one in price_list(org_id=cast.org.id, past=True) if one.own]) == 1


@pytest.mark.parametrize(
    "wrong",
    [
        {"input": "-1"}, {"input": "x"}, {"input": "NaN"}, {"multipliers": "batch"}, {"multipliers": "moon 2"},
        {"multipliers": "batch NaN"}, {"valid_from": "soon"}, {"valid_from": "0001-01-01"}, {"source": ""},
        {"model": ""},
    ],
)  # fmt: skip
def test_a_wrong_price_is_not_set_and_the_field_says_why(cast: Cast, wrong: dict[str, str]) -> None:
    answer = cast.owner.post(cast.url("settings/prices"), price(**wrong))
    assert answer.status_code == 400
    assert "mw-err" in text_of(answer)
    assert not any(one.own for one in price_list(org_id=cast.org.id, past=True))


def test_the_form_starts_from_the_price_in_force(cast: Cast) -> None:
    body = text_of(cast.owner.get(cast.url("settings/prices?model=claude-haiku-4-5")))
    assert re.search(r'name="input" value="1"', body)
    assert "batch 0.5" in body


def test_a_model_without_a_price_is_told_with_the_way_to_give_it_one(cast: Cast, send) -> None:
    send(event(model="house/model"), event(model="house/model"))
    body = text_of(cast.owner.get(cast.url("settings/prices")))
    assert "1 model without a price" in body
    assert "house/model" in body
    assert "?model=house%2Fmodel#own" in body
    assert "#own" not in text_of(cast.viewer.get(cast.url("settings/prices")))


def test_who_may_only_look_sets_and_ends_no_price(cast: Cast) -> None:
    made = price_set(
        model="house", org_id=cast.org.id, valid_from=timezone.now() - timedelta(days=1), source="x",
        units=dict.fromkeys(TOKEN_KINDS, Decimal(1)),
    )  # fmt: skip
    for client in (cast.viewer, cast.billing, member(cast, "dev", "developer")):
        assert 'name="source"' not in text_of(client.get(cast.url("settings/prices")))
        assert client.post(cast.url("settings/prices"), price()).status_code == 403
        assert client.post(cast.url(f"settings/prices/{made}/end")).status_code == 403
    assert price_for(org_id=cast.org.id, model="house") is not None


def test_neither_a_list_price_nor_another_organisations_is_ended(cast: Cast) -> None:
    theirs = price_set(
        model="house", org_id=cast.other.id, valid_from=timezone.now() - timedelta(days=1), source="secret contract",
        units=dict.fromkeys(TOKEN_KINDS, Decimal(1)),
    )  # fmt: skip
    listed = price_list(org_id=cast.org.id)[0]
    for id_ in (theirs, listed.id):
        assert cast.owner.post(cast.url(f"settings/prices/{id_}/end")).status_code == 404
    assert "secret contract" not in text_of(cast.owner.get(cast.url("settings/prices?past=1")))
    assert price_for(org_id=cast.other.id, model="house") is not None


# ---------------------------------------------------------------- replacing a key
def rotate(cast: Cast, client: Client, **form: str) -> Any:
    key = key_list(org_id=cast.org.id).get(name="laptop", digest__isnull=False, expires_at__isnull=True)
    return client.post(cast.url(f"projects/shuttle/keys/{key.pk}/rotate"), form)


def test_a_key_is_replaced_once_and_both_work_for_a_day(cast: Cast) -> None:
    word = once(cast.owner, cast.url("projects/shuttle"))
    old = key_list(org_id=cast.org.id).get()
    answer = rotate(cast, cast.owner, once=word)
    token = shown_key(text_of(answer))
    assert token is not None
    assert "no-store" in answer.headers["Cache-Control"]
    assert "Key replaced" in text_of(answer)
    assert key_authenticate(token) is not None
    assert key_authenticate(cast.token) is not None
    again = cast.owner.post(cast.url(f"projects/shuttle/keys/{old.pk}/rotate"), {"once": word})
    assert again.status_code == 302
    assert key_list(org_id=cast.org.id).count() == 2
    old = key_list(org_id=cast.org.id).get(pk=old.pk)
    assert timedelta(hours=23) < old.expires_at - timezone.now() <= timedelta(hours=24)
    assert token not in text_of(cast.owner.get(cast.url("projects/shuttle")))
    assert len(trail("key.rotated")) == 1


def test_a_revoked_key_is_not_replaced(cast: Cast) -> None:
    key = key_list(org_id=cast.org.id).get()
    word = once(cast.owner, cast.url("projects/shuttle"))
    revoke_api_key(org_id=cast.org.id, project_id=cast.project.id, key_id=key.pk)
    answer = cast.owner.post(cast.url(f"projects/shuttle/keys/{key.pk}/rotate"), {"once": word}, follow=True)
    assert "A revoked key cannot be rotated" in text_of(answer)
    assert key_list(org_id=cast.org.id).count() == 1


def test_who_may_not_manage_keys_replaces_none(cast: Cast) -> None:
    key = key_list(org_id=cast.org.id).get()
    assert rotate(cast, cast.viewer, once="a").status_code == 403
    assert cast.stranger.post(cast.url(f"projects/shuttle/keys/{key.pk}/rotate"), {"once": "a"}).status_code == 404
    dev = member(cast, "dev", "developer")
    assert rotate(cast, dev, once="a").status_code == 403, "a key without limit is an admin's"
    assert key_list(org_id=cast.org.id).count() == 1


# ---------------------------------------------------------------- hostile text
def test_hostile_text_is_shown_as_text_everywhere(cast: Cast) -> None:
    User.objects.filter(email="vic@loom.test").update(name=HOSTILE)
    cast.owner.post(cast.url("settings"), {"name": HOSTILE, "timezone": "UTC"})
    team = create_team(org_id=cast.org.id, name=HOSTILE)
    vic = user_id(cast, "vic@loom.test")
    add_team_member(org_id=cast.org.id, team_id=team.id, user_id=vic)
    register_tag_key(org_id=cast.org.id, key=HOSTILE)
    price_set(
        model=HOSTILE, org_id=cast.org.id, valid_from=timezone.now() - timedelta(days=1), source=HOSTILE,
        units=dict.fromkeys(TOKEN_KINDS, Decimal(1)),
    )  # fmt: skip
    paths = ["", "/members", f"/members/{vic}", "/teams", f"/teams/{team.slug}", "/tags", "/prices"]
    for path in [*paths, "/members?q=<script>", "/prices?q=<script>", "/prices?model=<script>"]:
        body = text_of(cast.owner.get(cast.url(f"settings{path}")))
        assert "<script>alert" not in body, path
        assert "<script>&" not in body
        assert not re.search(r"<script(?![^>]*src=)", body), path
    assert cast.owner.post(cast.url("settings/tags/remove"), {"key": HOSTILE}).status_code == 302
    assert tag_keys(cast.org.id) == []
