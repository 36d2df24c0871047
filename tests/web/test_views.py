"""Saved views on the pages: kept, applied, marked, changed, shared; with forms alone."""

from uuid import UUID

import pytest

from apps.accounts.services import remove_member
from apps.analytics import saved, services
from apps.analytics.page_state import normal
from apps.analytics.subscribers import on_member_left
from apps.core.errors import Conflict, NotFound, PermissionDenied, ValidationFailed
from apps.events.contracts import Envelope
from apps.identity.models import User
from tests.web.conftest import Cast


def vic() -> UUID:
    return User.objects.get(email="vic@loom.test").pk


def keep(cast: Cast, **fields: object) -> object:
    values = {"page": "usage", "name": "Teams", "query": "by=team&period=7d", **fields}
    return services.create_view(**{"org_id": cast.org.id, "user_id": cast.olive.id, **values})


@pytest.mark.parametrize(
    ("page", "said", "kept"),
    [
        ("usage", "", "period=28d"),
        ("usage", "?by=team&period=7d&page=3&add=model", "period=7d&by=team"),
        ("usage", "filter[status]=ok&by=nonsense&period=2020-01-01", "period=28d&filter[status]=ok"),
        ("usage", "by=tag:region", "period=28d&by=tag:region"),
        ("costs", "period=last-month", "period=last-month"),
        ("costs", "", "period=month"),
        ("sessions", "state=ended&user=nobody&after=2026-01-01~1", "period=28d&state=ended"),
        ("events", "model=claude-opus-5&status=error", "period=28d&status=error&model=claude-opus-5"),
    ],
)
def test_an_address_has_one_normal_form_with_its_relative_period(page: str, said: str, kept: str) -> None:
    assert normal(page, said) == kept
    assert normal(page, kept) == kept


@pytest.mark.parametrize(
    ("page", "query"),
    [("usage", "evil=1"), ("costs", "by=team"), ("home", ""), ("events", "x=" + "y" * 3000), ("usage", "filter=x")],
)
def test_what_a_page_does_not_know_is_refused(page: str, query: str) -> None:
    with pytest.raises(ValidationFailed):
        normal(page, query)


def test_a_tag_that_the_organisation_lacks_is_not_kept(cast: Cast) -> None:
    assert keep(cast, query="by=tag:nobody").query == "period=28d"


def test_a_view_is_saved_listed_applied_and_marked(cast: Cast) -> None:
    address = cast.url("usage?by=team&period=7d")
    page = cast.owner.get(address).content.decode()
    assert "Save this view" in page
    form = {"page": "usage", "query": "period=7d&by=team", "name": " My  teams "}
    answer = cast.owner.post(cast.url("views"), form)
    assert answer.status_code == 302
    assert answer["Location"] == cast.url("usage?period=7d&by=team")
    after = cast.owner.get(address).content.decode()
    assert 'aria-current="true"><span class="mw-grow mw-trunc">My teams</span>' in after
    elsewhere = cast.owner.get(cast.url("usage")).content.decode()
    assert "My teams" in elsewhere
    assert "Save this view" in elsewhere
    assert "My teams" not in cast.owner.get(cast.url("costs")).content.decode()
    assert "My teams" not in cast.viewer.get(cast.url("usage")).content.decode()


def test_the_form_is_a_page_of_its_own_too(cast: Cast) -> None:
    page = cast.viewer.get(cast.url("views?page=events&query=status%3Derror")).content.decode()
    assert 'value="period=28d&amp;status=error"' in page
    assert "Share with the organisation" not in page
    bad = cast.viewer.post(cast.url("views"), {"page": "events", "query": "what=1", "name": "x"})
    assert bad.status_code == 400
    assert "has no parameter" in bad.content.decode()
    assert saved.view_list(org_id=cast.org.id, user_id=vic()) == []


def test_names_are_unique_for_a_person_and_page_and_views_are_bounded(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep(cast)
    with pytest.raises(Conflict):
        keep(cast)
    keep(cast, page="costs", query="")
    keep(cast, user_id=vic())
    again = cast.owner.post(cast.url("views"), {"page": "usage", "query": "", "name": "Teams"})
    assert again.status_code == 400
    assert "You have a view of this name" in again.content.decode()
    monkeypatch.setattr(services, "MOST_OF_PERSON", 2)
    with pytest.raises(Conflict):
        keep(cast, name="Third")
    monkeypatch.setattr(services, "MOST_OF_PERSON", 100)
    monkeypatch.setattr(services, "MOST_OF_ORG", 3)
    with pytest.raises(Conflict):
        keep(cast, name="Fourth")


def test_a_viewer_keeps_private_views_and_shares_none(cast: Cast) -> None:
    mine = keep(cast, user_id=vic())
    with pytest.raises(PermissionDenied):
        keep(cast, user_id=vic(), name="For all", is_shared=True)
    for changes in ({"is_shared": True},):
        with pytest.raises(PermissionDenied):
            services.update_view(org_id=cast.org.id, user_id=vic(), view_id=mine.id, changes=changes)
    with pytest.raises(NotFound):
        services.delete_view(org_id=cast.org.id, user_id=cast.olive.id, view_id=mine.id)
    services.delete_view(org_id=cast.org.id, user_id=vic(), view_id=mine.id)


def test_a_shared_view_is_seen_by_all_and_changed_by_admins(cast: Cast) -> None:
    shared = keep(cast, is_shared=True)
    assert "Shared in Loom" in cast.viewer.get(cast.url("usage")).content.decode()
    refused = cast.viewer.post(cast.url(f"views/{shared.id}"), {"name": "Mine now"})
    assert refused.status_code == 403
    assert cast.viewer.post(cast.url(f"views/{shared.id}/delete")).status_code == 403
    assert saved.view_get(org_id=cast.org.id, user_id=vic(), view_id=shared.id).name == "Teams"
    assert cast.stranger.post(cast.url(f"views/{shared.id}"), {"name": "x"}).status_code == 404


def test_a_view_is_renamed_updated_and_deleted_with_forms(cast: Cast) -> None:
    view = keep(cast)
    here = cast.url(f"views/{view.id}")
    cast.owner.post(here, {"name": "Weft"})
    back = cast.owner.post(here, {"query": "by=project", "back": "page"})
    assert back["Location"] == cast.url("usage?period=28d&by=project")
    assert "Weft" in cast.owner.get(cast.url("views")).content.decode()
    wrong = cast.owner.post(here, {"query": "evil=1"}, follow=True).content.decode()
    assert "has no parameter" in wrong
    cast.owner.post(f"{here}/delete", follow=True)
    assert "Weft" not in cast.owner.get(cast.url("usage")).content.decode()


def test_the_default_is_where_the_navigation_leads_for_one_person(cast: Cast) -> None:
    view = keep(cast, is_shared=True)
    link = f'href="{cast.url("usage")}?period=7d&amp;by=team" title="Usage"'
    assert link not in cast.viewer.get(cast.url("costs")).content.decode()
    cast.viewer.post(cast.url(f"views/{view.id}"), {"is_default": "on"})
    assert link in cast.viewer.get(cast.url("costs")).content.decode()
    assert link not in cast.owner.get(cast.url("costs")).content.decode()
    # What others may no longer see is nobody's default.
    cast.owner.post(cast.url(f"views/{view.id}"), {"is_shared": "off"})
    assert link not in cast.viewer.get(cast.url("costs")).content.decode()
    assert saved.default_queries(cast.org.id, vic()) == {}


def test_whoever_leaves_takes_the_private_views_and_leaves_the_shared_ones(cast: Cast) -> None:
    person = vic()
    keep(cast, user_id=person, name="Private", is_default=True)
    shared = keep(cast, name="Shared", is_shared=True)
    from apps.analytics.models import SavedView
    from apps.core.tenancy import org_scope

    with org_scope(cast.org.id):
        SavedView.objects.filter(pk=shared.id).update(owner_id=person)
    gone = Envelope.from_dict(
        {
            "id": str(cast.org.id), "type": "member.removed", "source": "accounts", "correlation_id": "c",
            "timestamp": "2026-11-23T10:00:00+00:00", "version": "1.0",
            "data": {"org_id": str(cast.org.id), "user_id": str(person), "role": "viewer"},
            "metadata": {"org_id": str(cast.org.id)},
        },
        topic="audit.log", key="k",
    )  # fmt: skip
    on_member_left(gone)
    assert saved.view_list(org_id=cast.org.id, user_id=person) != [], "who is a member still keeps theirs"
    remove_member(org_id=cast.org.id, user_id=person)
    on_member_left(gone)
    on_member_left(gone)
    left = saved.view_list(org_id=cast.org.id, user_id=cast.olive.id)
    assert [(view.name, view.owner_id) for view in left] == [("Shared", None)]
    with org_scope(cast.org.id):
        assert SavedView.objects.count() == 1
    with pytest.raises(Conflict):
        services.update_view(org_id=cast.org.id, user_id=cast.olive.id, view_id=shared.id, changes={"is_shared": False})
    assert "its owner has left" in cast.owner.get(cast.url("views")).content.decode()
