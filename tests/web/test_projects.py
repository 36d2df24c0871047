"""Projects and keys on the web, and the first run."""

import re

from apps.accounts.services import suspend_organization
from apps.projects.selectors import key_authenticate, key_list
from tests.web.conftest import Cast, event


def shown_key(body: str) -> str | None:
    found = re.search(r"<code data-copy-source>(mw_\w+)</code>", body)
    return found[1] if found else None


def test_a_key_is_shown_once_and_works(cast: Cast) -> None:
    page = cast.url("projects/shuttle")
    made = cast.owner.post(page, {"name": "nightly", "scopes": ["ingest"], "days": "30"})
    token = shown_key(made.content.decode())
    assert token is not None
    assert key_authenticate(token) is not None
    assert "no-store" in made.headers["Cache-Control"]
    later = cast.owner.get(page).content.decode()
    assert token not in later
    assert "nightly" in later


def test_a_key_of_the_page_counts_for_who_made_it_and_ends(cast: Cast) -> None:
    cast.owner.post(cast.url("projects/shuttle"), {"name": "nightly", "scopes": ["ingest"], "days": "30"})
    key = key_list(org_id=cast.org.id).get(name="nightly")
    assert key.owner_id == cast.olive.id
    assert (key.expires_at - key.created_at).days in {29, 30}


def test_a_key_without_scope_or_name_is_not_made(cast: Cast) -> None:
    answer = cast.owner.post(cast.url("projects/shuttle"), {"name": "", "days": "30"})
    assert answer.status_code == 400
    assert key_list(org_id=cast.org.id).count() == 1


def test_a_revoked_key_is_dead_at_once(cast: Cast) -> None:
    assert key_authenticate(cast.token) is not None
    key = key_list(org_id=cast.org.id).get()
    answer = cast.owner.post(cast.url(f"projects/shuttle/keys/{key.pk}/revoke"), follow=True)
    assert "The key is revoked" in answer.content.decode()
    key_list(org_id=cast.org.id).get(pk=key.pk, revoked_at__isnull=False)


def test_who_may_only_look_sees_no_forms_and_makes_nothing(cast: Cast) -> None:
    body = cast.viewer.get(cast.url("projects")).content.decode()
    assert "Shuttle" in body
    assert 'name="name"' not in body
    assert cast.viewer.post(cast.url("projects"), {"name": "Mine"}).status_code == 403
    assert cast.viewer.post(cast.url("projects/shuttle"), {"name": "x", "scopes": ["ingest"]}).status_code == 403
    key = key_list(org_id=cast.org.id).get()
    assert cast.viewer.post(cast.url(f"projects/shuttle/keys/{key.pk}/revoke")).status_code == 403
    assert key_list(org_id=cast.org.id, project_id=cast.project.id).filter(revoked_at__isnull=True).count() == 1


def test_a_role_without_projects_is_told_who_can_help(cast: Cast) -> None:
    answer = cast.billing.get(cast.url("projects"))
    assert answer.status_code == 403
    body = answer.content.decode()
    assert "This page is not open to your role" in body
    assert "owner, admin, developer, viewer" in body
    assert 'href="/o/loom-co/projects"' not in body, "the navigation offers only what opens"


def test_a_key_of_another_organisation_cannot_be_revoked(cast: Cast) -> None:
    key = key_list(org_id=cast.org.id).get()
    assert cast.stranger.post(cast.url(f"projects/shuttle/keys/{key.pk}/revoke")).status_code == 404
    own = f"/o/{cast.other.slug}/projects/shuttle/keys/{key.pk}/revoke"
    assert cast.stranger.post(own).status_code == 404
    assert key_authenticate(cast.token) is not None


def test_a_new_project_opens_on_its_page(cast: Cast) -> None:
    answer = cast.owner.post(cast.url("projects"), {"name": "Night Weaver"})
    assert answer.headers["Location"] == cast.url("projects/night-weaver")


# ---------------------------------------------------------------- first run
def test_the_first_run_leads_from_nothing_to_an_event(cast: Cast, send) -> None:
    made = cast.stranger.post("/welcome?new=1", {"name": "Fresh", "timezone": "Asia/Kathmandu"})
    assert made.headers["Location"] == "/o/fresh/welcome"
    step = cast.stranger.post("/o/fresh/welcome", {"step": "project", "name": "First"})
    assert step.headers["Location"] == "/o/fresh/welcome?project=first"
    page = cast.stranger.get("/o/fresh/welcome?project=first").content.decode()
    once = re.search(r'name="once" value="(\w+)"', page)[1]
    form = {"step": "key", "project": "first", "once": once}
    keyed = cast.stranger.post("/o/fresh/welcome", form).content.decode()
    token = shown_key(keyed)
    assert token is not None
    assert f"Authorization=Bearer {token}" in keyed
    assert "Waiting for your first event" in keyed
    assert cast.stranger.get("/o/fresh/welcome/first/first-event").status_code == 204
    again = cast.stranger.post("/o/fresh/welcome", form)
    assert again.status_code == 302, "loading the answer again makes no second key"
    assert key_list(org_id=key_authenticate(token).org_id).count() == 1


def test_the_first_event_appears_with_its_figures(cast: Cast, send) -> None:
    assert cast.owner.get(cast.url("welcome/shuttle/first-event")).status_code == 204
    send(event())
    body = cast.owner.get(cast.url("welcome/shuttle/first-event")).content.decode()
    assert "api_call, claude-haiku-4-5" in body
    assert "830 ms" in body
    assert "$0.0015" in body
    assert "Waiting" not in cast.owner.get(cast.url("welcome")).content.decode()


def test_a_viewer_makes_nothing_in_the_first_run(cast: Cast) -> None:
    cast.viewer.post(cast.url("welcome"), {"step": "project", "name": "Mine"})
    cast.viewer.post(cast.url("welcome"), {"step": "key", "project": "shuttle", "once": "a"})
    assert key_list(org_id=cast.org.id).count() == 1
    assert "Mine" not in cast.owner.get(cast.url("projects")).content.decode()


def test_the_time_zone_must_be_one(cast: Cast) -> None:
    assert cast.stranger.post("/welcome?new=1", {"name": "X", "timezone": "Mars/Olympus"}).status_code == 400


def test_a_suspended_organisation_can_be_read_and_not_changed(cast: Cast) -> None:
    suspend_organization(org_id=cast.org.id, reason="unpaid")
    assert "This organisation is suspended" in cast.owner.get(cast.url("projects")).content.decode()
    answer = cast.owner.post(cast.url("projects"), {"name": "More"})
    assert answer.status_code == 403
    assert "More" not in cast.owner.get(cast.url("projects")).content.decode()
