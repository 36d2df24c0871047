"""Short names that change: the old addresses lead on, for members alone, and nobody else gets the old name."""

import pytest

from apps.accounts import services
from apps.accounts.models import OrgSlug
from apps.core.errors import Conflict
from apps.core.tenancy import system_scope
from tests.cast import Api, at_once, make_person

HTML = {"accept": "text/html"}


def rename(cast, slug: str) -> None:
    services.update_organization(org_id=cast.org.id, changes={"slug": slug})


def test_an_old_address_leads_on_for_members_and_is_nothing_to_others(cast) -> None:
    rename(cast, "looms")
    dora = Api(cast.dora).client
    moved = dora.get("/o/wonder-looms/usage?by=team", headers=HTML)
    assert (moved.status_code, moved["Location"]) == (301, "/o/looms/usage?by=team")
    assert moved["Cache-Control"] == "no-store"
    form = Api(cast.alice).client.post("/o/wonder-looms/settings", {"name": "X"}, headers=HTML)
    assert (form.status_code, form["Location"]) == (308, "/o/looms/settings")
    assert Api(cast.charlie).client.get("/o/wonder-looms/usage", headers=HTML).status_code == 404
    assert Api().client.get("/o/wonder-looms/usage", headers=HTML)["Location"].startswith("/login")


def test_names_lead_to_the_present_one_over_several_changes_and_back(cast) -> None:
    rename(cast, "looms")
    rename(cast, "weavers")
    alice = Api(cast.alice).client
    assert alice.get("/o/wonder-looms", headers=HTML)["Location"] == "/o/weavers"
    assert alice.get("/o/looms/", headers=HTML)["Location"] == "/o/weavers/"
    rename(cast, "wonder-looms")
    assert alice.get("/o/wonder-looms/", headers=HTML).status_code == 200
    assert alice.get("/o/weavers/", headers=HTML)["Location"] == "/o/wonder-looms/"


def test_a_name_in_use_or_ever_used_by_another_is_not_taken(cast) -> None:
    rename(cast, "looms")
    for slug in ("looms", "wonder-looms"):
        with pytest.raises(Conflict) as refused:
            services.update_organization(org_id=cast.elsewhere.id, changes={"slug": slug})
        assert refused.value.code == "slug_taken"
        with pytest.raises(Conflict):
            services.create_organization(owner_id=cast.charlie.id, name="Copy", slug=slug)
    made = services.create_organization(owner_id=cast.charlie.id, name="Wonder Looms")
    assert made.slug.startswith("wonder-looms-")


@pytest.mark.parametrize("slug", ["admin", "settings", "scim", "invite", "Upper", "a b", "-"])
def test_words_of_ours_and_what_is_no_name_are_refused(cast, slug) -> None:
    answer = Api(cast.alice).patch(f"/orgs/{cast.org.id}", {"slug": slug})
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["pointer"] == "/slug"


def test_the_general_settings_change_it_and_go_on_there(cast) -> None:
    alice = Api(cast.alice).client
    form = {"name": "Wonder Looms", "slug": "looms", "timezone": "UTC"}
    answer = alice.post("/o/wonder-looms/settings", form, headers=HTML)
    assert (answer.status_code, answer["Location"]) == (302, "/o/looms/settings")
    taken = alice.post("/o/looms/settings", {**form, "slug": "elsewhere"}, headers=HTML)
    assert taken.status_code == 400
    assert "This short name is taken" in taken.content.decode()


@pytest.mark.django_db(transaction=True)
def test_of_two_who_take_a_name_at_once_one_gets_it() -> None:
    owner = make_person("owner")
    made = services.create_organization(owner_id=owner.id, name="First")
    results = at_once(
        lambda: services.update_organization(org_id=made.id, changes={"slug": "same"}),
        lambda: services.create_organization(owner_id=owner.id, name="Second", slug="same"),
    )
    assert sum(isinstance(result, Conflict) for result in results) == 1, results
    with system_scope("the test looks at all"):
        assert OrgSlug.objects.filter(slug="same").count() == 1


# ---------------------------------------------------------------- which one is meant
def test_a_person_chooses_where_a_visit_starts(cast) -> None:
    second = services.create_organization(owner_id=cast.alice.id, name="Second")
    alice = Api(cast.alice)
    assert alice.client.get("/", headers=HTML)["Location"] == "/o/wonder-looms/"
    assert alice.put(f"/orgs/{second.id}/default").status_code == 204
    assert alice.client.get("/", headers=HTML)["Location"] == "/o/second/"
    alice.client.post(f"/account/organisations/{cast.org.id}/default", headers=HTML)
    assert alice.client.get("/", headers=HTML)["Location"] == "/o/wonder-looms/"
    assert alice.put(f"/orgs/{cast.elsewhere.id}/default").status_code == 404
    stranger = alice.client.post(f"/account/organisations/{cast.elsewhere.id}/default", headers=HTML)
    assert stranger.status_code == 404
    services.add_member(org_id=cast.org.id, user_id=cast.charlie.id, role="owner")
    services.remove_member(org_id=cast.org.id, user_id=cast.alice.id)
    assert alice.client.get("/", headers=HTML)["Location"] == "/o/second/", "what is no longer theirs is not meant"
