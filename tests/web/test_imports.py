"""Imports on the web: files that are sent, followed, ended and gone on with; who may."""

import json
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from apps.core.tenancy import org_scope
from apps.identity.models import User
from apps.projects.services import create_project
from apps.usage.imports import job, store
from apps.usage.models import Import
from tests.cast import sign_in
from tests.usage.engine.conftest import committed, event  # noqa: F401 - a fixture
from tests.usage.imports.conftest import PACKERS, csv_of, jsonl
from tests.web.conftest import Cast

# The worker asks on connections of its own.
pytestmark = pytest.mark.usefixtures("committed")


@pytest.fixture(autouse=True)
def _own_data_directory(settings: Any, tmp_path: Path) -> None:
    settings.DATA_DIR = tmp_path / "data"


def send(cast: Cast, content: bytes, *, name: str = "may.jsonl", client: Client | None = None, **options: Any) -> Any:
    form = {"project": cast.project.slug, "file": SimpleUploadedFile(name, content), **options.pop("form", {})}
    return (client or cast.owner).post(cast.url("imports/upload"), form, **options)


def imports(cast: Cast) -> list[Import]:
    with org_scope(cast.org.id):
        return list(Import.objects.order_by("created_at"))


def work(cast: Cast) -> None:
    while job.take_on(cast.org.id):
        pass


def text(answer: Any) -> str:
    return answer.content.decode().replace("<wbr>", "")


@pytest.mark.parametrize("packed", PACKERS)
def test_a_file_is_sent_followed_and_counted(cast: Cast, packed: str) -> None:
    content = PACKERS[packed](jsonl([*(event() for _ in range(3)), {"bad": 1}]))
    answer = send(cast, content, follow=True)
    (row,) = imports(cast)
    assert (row.name, row.state, row.project_id) == ("may.jsonl", "queued", cast.project.id)
    assert answer.redirect_chain == [(cast.url(f"imports/{row.pk}"), 302)]
    assert "Waits" in text(answer)
    # It asks for itself anew until it is at its end.
    assert 'hx-trigger="every 2s"' in text(answer)
    work(cast)
    part = text(cast.owner.get(cast.url(f"imports/{row.pk}"), headers={"HX-Request": "true"}))
    assert "Imported" in part
    assert "&#x27;bad&#x27; is not a field of an event" in part
    assert "<html" not in part
    assert "hx-trigger" not in part


def test_a_script_gets_the_address_or_the_problem(cast: Cast) -> None:
    answer = send(cast, csv_of(["timestamp", "event_type", "model"]), headers={"accept": "application/json"})
    (row,) = imports(cast)
    assert answer.status_code == 202
    assert answer.json() == {"id": str(row.pk), "url": cast.url(f"imports/{row.pk}")}
    answer = send(cast, b"", headers={"accept": "application/json"})
    assert answer.status_code == 400
    assert "empty" in answer.json()["detail"]
    assert len(imports(cast)) == 1


def test_the_list_has_its_empty_state_and_pages(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    from apps.usage import import_views

    assert "Nothing was imported yet" in text(cast.owner.get(cast.url("imports")))
    monkeypatch.setattr(import_views, "_SHOWN", "2")
    for number in range(3):
        send(cast, jsonl([event()]), name=f"file-{number}.jsonl")
    cast.owner.get(cast.url("imports"))  # and what was said of them
    page = cast.owner.get(cast.url("imports"))
    assert "file-2.jsonl" in text(page)
    assert "file-0.jsonl" not in text(page)
    older = page.context["next"]
    assert "file-0.jsonl" in text(cast.owner.get(cast.url("imports"), {"cursor": older}))
    assert "file-2.jsonl" in text(cast.owner.get(cast.url("imports"), {"cursor": "nonsense"}))
    part = text(cast.owner.get(cast.url("imports"), headers={"HX-Request": "true"}))
    assert "<html" not in part
    assert "every 2s" in part


def test_what_cannot_be_taken_is_told_and_leaves_nothing(cast: Cast, settings: Any) -> None:
    for form in ({"project": "nowhere"}, {"format": "xml"}):
        answer = send(cast, jsonl([event()]), form=form, follow=True)
        assert answer.redirect_chain == [(cast.url("imports"), 302)]
        assert "mw-toast" in text(answer)
    assert cast.owner.post(cast.url("imports/upload"), {"project": cast.project.slug}).status_code == 302
    settings.USAGE_IMPORT_MAX_BYTES = 300
    assert send(cast, jsonl([event() for _ in range(9)])).status_code == 413
    assert imports(cast) == []
    assert list(store.directory().iterdir()) == []


def test_another_organisations_project_or_import_is_not_there(cast: Cast) -> None:
    create_project(org_id=cast.other.id, name="Theirs")
    send(cast, jsonl([event()]), form={"project": "theirs"})
    assert imports(cast) == []
    send(cast, jsonl([event()]))
    (row,) = imports(cast)
    for path in (f"imports/{row.pk}", f"imports/{row.pk}/cancel", f"imports/{row.pk}/resume"):
        call = cast.stranger.get if path.endswith(str(row.pk)) else cast.stranger.post
        assert call(f"/o/{cast.other.slug}/{path}").status_code == 404
    assert imports(cast)[0].state == "queued"


def test_who_may_not_import_sees_none_of_it(cast: Cast) -> None:
    assert cast.viewer.get(cast.url("imports")).status_code == 403
    assert send(cast, jsonl([event()]), client=cast.viewer).status_code == 403
    assert imports(cast) == []
    home = text(cast.viewer.get(cast.url()))
    assert cast.url("imports") not in home
    assert cast.url("imports") in text(cast.owner.get(cast.url()))


def test_a_form_without_its_token_is_refused(cast: Cast) -> None:
    client = Client(enforce_csrf_checks=True, headers={"accept": "text/html"})
    sign_in(client, User.objects.get(pk=cast.olive.id))
    assert send(cast, jsonl([event()]), client=client).status_code == 403
    assert imports(cast) == []
    assert list(store.directory().iterdir()) == []
    client.get(cast.url("imports"))
    token = client.cookies["mw_csrf"].value
    assert send(cast, jsonl([event()]), client=client, form={"csrfmiddlewaretoken": token}).status_code == 302
    assert len(imports(cast)) == 1


def test_one_is_cancelled_and_one_that_failed_goes_on(cast: Cast) -> None:
    send(cast, jsonl([event()]))
    (row,) = imports(cast)
    answer = cast.owner.post(cast.url(f"imports/{row.pk}/cancel"), follow=True)
    assert "is cancelled" in text(answer)
    assert imports(cast)[0].state == "cancelled"
    answer = cast.owner.post(cast.url(f"imports/{row.pk}/resume"), follow=True)
    assert "only a failed one can be resumed" in text(answer)
    send(cast, jsonl([event()]), name="june.jsonl")
    with org_scope(cast.org.id):
        Import.objects.filter(name="june.jsonl").update(state="failed", failure="The inbox was full.")
    row = imports(cast)[-1]
    page = text(cast.owner.get(cast.url(f"imports/{row.pk}")))
    assert "The inbox was full." in page
    assert "Go on" in page
    cast.owner.post(cast.url(f"imports/{row.pk}/resume"))
    assert imports(cast)[-1].state == "queued"
    work(cast)
    assert imports(cast)[-1].accepted == 1
    assert cast.owner.get(cast.url(f"imports/{uuid4()}")).status_code == 404


def test_going_on_is_offered_only_where_it_can_help(cast: Cast) -> None:
    send(cast, b"timestamp,event_type,nothing\n", name="wrong.csv")
    work(cast)
    (row,) = imports(cast)
    page = text(cast.owner.get(cast.url(f"imports/{row.pk}")))
    assert "Going on would end in the same" in page
    assert "Go on<" not in page
    assert "import-cancel" not in page
    answer = cast.owner.post(cast.url(f"imports/{row.pk}/resume"), follow=True)
    assert "Going on would end in the same" in text(answer)
    assert imports(cast)[0].state == "failed"


def test_cancelling_asks_first(cast: Cast) -> None:
    send(cast, jsonl([event()]))
    (row,) = imports(cast)
    page = text(cast.owner.get(cast.url(f"imports/{row.pk}")))
    before, dialog = page.split('<dialog class="mw-dialog" id="import-ask"')
    assert 'commandfor="import-ask"' in before
    assert f'action="{cast.url(f"imports/{row.pk}/cancel")}"' in dialog
    # What is shown anew while it goes on has the button, and leaves the dialog alone.
    part = text(cast.owner.get(cast.url(f"imports/{row.pk}"), headers={"HX-Request": "true"}))
    assert 'id="import-cancel"' in part
    assert 'id="import-ask"' not in part


def test_a_hostile_name_is_shown_as_text(cast: Cast) -> None:
    send(cast, json.dumps(event()).encode(), name="<img src=x onerror=alert(1)>.jsonl")
    page = text(cast.owner.get(cast.url("imports")))
    assert "<img src=x" not in page
    assert "&lt;img src=x" in page


def test_a_script_is_told_to_wait_before_its_file_is_read(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("apps.usage.imports.services.MAX_UNFINISHED", 1)
    monkeypatch.setattr("apps.usage.import_views.receive", lambda request: pytest.fail("it was read"))
    with org_scope(cast.org.id):
        Import.objects.create(
            org_id=cast.org.id, project_id=cast.project.id, key_id=uuid4(), origin="upload", name="a", size_bytes=1
        )
    answer = send(cast, jsonl([event()]), headers={"accept": "application/json"})
    assert (answer.status_code, answer.json()["code"]) == (409, "too_many_imports")
    assert list(store.directory().iterdir()) == []
