"""Settings → Audit log."""

import pytest

from apps.audit.chain import seal_all
from apps.audit.services import forget_person
from apps.projects.services import update_project
from tests.cast import Api, Cast, make_cast, trail


def page(cast: Cast, path: str = "", **query) -> str:
    response = Api(cast.alice).client.get(f"/o/{cast.org.slug}/settings/audit{path}", query)
    assert response.status_code == 200, response.content
    return response.content.decode()


def test_the_log_says_who_did_what(cast: Cast) -> None:
    text = page(cast)
    assert "A project was made" in text
    assert "Weaver" in text
    assert "Theirs" not in text, "another organisation's"


def test_it_is_narrowed_by_action_person_target_and_day(cast: Cast) -> None:
    assert "A project was made" not in page(cast, action="member.*")
    assert "Weaver" in page(cast, action="project.*")
    assert "Weaver" in page(cast, target=str(cast.project.id))
    assert "Nothing meets this filter" in page(cast, start="2001-01-01", end="2001-01-02")
    assert "cannot be read" in page(cast, actor="nobody")
    assert "Nothing meets this filter" in page(cast, ip="203.0.113.9")
    assert "(told once an hour)" in page(cast, ip="192.0.2.10")


def test_an_entry_shows_before_and_after(cast: Cast) -> None:
    update_project(org_id=cast.org.id, project_id=cast.project.id, changes={"name": "Shuttle"})
    (entry,) = trail("project.updated", target_id=str(cast.project.id))
    text = page(cast, f"/{entry.id}")
    assert "What changed" in text
    assert "Weaver" in text
    assert "Shuttle" in text
    assert "Not sealed yet" in text


def test_an_entry_of_another_organisation_is_not_there(cast: Cast) -> None:
    (theirs,) = trail("project.created", org_id=cast.elsewhere.id)
    assert Api(cast.alice).client.get(f"/o/{cast.org.slug}/settings/audit/{theirs.id}").status_code == 404


def test_what_was_erased_says_so(cast: Cast) -> None:
    forget_person(user_id=cast.bob.id)
    (entry,) = trail("member.added", org_id=cast.org.id, target_id=str(cast.bob.id))
    text = page(cast, f"/{entry.id}")
    assert "Some of it was erased" in text
    assert cast.bob.email not in text


def test_the_file_holds_what_the_filter_shows(cast: Cast) -> None:
    response = Api(cast.alice).client.get(
        f"/o/{cast.org.slug}/settings/audit/export", {"format": "csv", "action": "project.*"}
    )
    text = b"".join(response.streaming_content).decode()
    assert "project.created" in text
    assert "member.added" not in text
    refused = Api(cast.alice).client.get(
        f"/o/{cast.org.slug}/settings/audit/export", {"format": "csv", "start": "yesterday"}
    )
    assert refused.status_code == 400


@pytest.mark.django_db(transaction=True)
def test_the_chain_is_verified_by_a_button() -> None:
    cast = make_cast()
    seal_all()
    assert "Sealed" in page(cast)
    client = Api(cast.alice).client
    response = client.post(f"/o/{cast.org.slug}/settings/audit/verify", follow=True)
    text = response.content.decode()
    assert "are as they were sealed" in text
    assert "Verified up to entry" in text


def test_a_stream_is_made_tested_paused_and_deleted(cast: Cast) -> None:
    client = Api(cast.alice).client
    base = f"/o/{cast.org.slug}/settings/audit/streams"
    assert "sent nowhere" in client.get(base).content.decode()
    refused = client.post(base, {"name": "SIEM", "url": "ftp://siem.test", "format": "json"})
    assert refused.status_code == 400
    assert "an https:// address" in refused.content.decode()
    made = client.post(base, {"name": "SIEM", "url": "https://127.0.0.1/in", "format": "json"}).content.decode()
    assert "whsec_" in made
    assert "whsec_" not in client.get(base).content.decode()
    (entry,) = trail("audit.stream_created", org_id=cast.org.id)
    act = f"{base}/{entry.target_id}"
    assert "not on the public internet" in client.post(f"{act}/test", follow=True).content.decode()
    assert "Paused" in client.post(f"{act}/pause", follow=True).content.decode()
    assert "Sends" in client.post(f"{act}/resume", follow=True).content.decode()
    assert "sent nowhere" in client.post(f"{act}/delete", follow=True).content.decode()
    assert client.post(f"{act}/pause").status_code == 404
