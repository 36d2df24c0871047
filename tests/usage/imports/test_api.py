"""``/v1/imports``: files taken in, followed, ended; who may."""

import errno
import json
from io import BytesIO
from typing import Any
from uuid import uuid4

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from apps.core import openapi
from apps.core.tenancy import org_scope
from apps.identity.models import User
from apps.projects.services import create_api_key, create_project
from apps.usage.imports import job, services, store
from apps.usage.models import Import
from tests.cast import Api, Cast, make_key
from tests.usage.engine.conftest import event
from tests.usage.imports.conftest import PACKERS, anonymous, counted, csv_of, jsonl, stored

pytestmark = pytest.mark.usefixtures("committed")


@pytest.fixture
def token(cast: Cast) -> str:
    return make_key(cast, scopes=("backfill",))[1]


def send(token: str, content: bytes, query: str = "", **headers: Any) -> Any:
    headers.setdefault("content_type", "application/octet-stream")
    return Client().post(f"/v1/imports{query}", data=content, HTTP_AUTHORIZATION=f"Bearer {token}", **headers)


def get(token: str, path: str) -> Any:
    return Api(token=token).get(path)


def work(cast: Cast) -> None:
    while job.take_on(cast.org.id):
        pass


@pytest.mark.parametrize("packed", PACKERS)
def test_a_file_is_taken_in_at_once_and_counted_by_the_worker(cast: Cast, token: str, packed: str) -> None:
    answer = send(token, PACKERS[packed](jsonl([*(event() for _ in range(3)), {"bad": 1}])), "?name=old%2Flogs.jsonl")
    body = answer.json()
    assert answer.status_code == 202
    assert answer.headers["Location"] == f"/v1/imports/{body['id']}"
    assert (body["state"], body["name"], body["project_id"]) == ("queued", "logs.jsonl", str(cast.project.id))
    assert (body["progress"]["percent"], body["progress"]["bytes_total"], body["format"]) == (0, None, None)
    work(cast)
    body = get(token, answer.headers["Location"]).json()
    assert (body["state"], body["accepted"], body["rejected"], body["failure"]) == ("completed", 3, 1, None)
    assert body["progress"]["percent"] == 100
    assert body["progress"]["bytes_read"] == body["progress"]["bytes_total"]
    expected = {"line": 4, "event_id": None, "code": "unknown_field", "pointer": "/bad"}
    assert body["first_errors"] == [{**expected, "detail": "'bad' is not a field of an event"}]
    assert (counted()[0], stored()) == (3, [])


def test_a_person_says_which_project_and_may_say_which_key(cast: Cast) -> None:
    alice, (key, _) = Api(cast.alice), make_key(cast)
    assert alice.client.post("/v1/imports", b"x", content_type="text/csv").json()["errors"] == [
        {"pointer": "project_id", "detail": "the project whose usage it is"}
    ]
    path = f"/v1/imports?project_id={cast.project.id}"
    content = csv_of(["timestamp", "event_type"], [event()["timestamp"], "session"])
    body = alice.client.post(f"{path}&key_id={key.id}", content, content_type="text/csv").json()
    assert (body["key_id"], body["format"]) == (str(key.id), "csv")
    body = alice.client.post(path, content, content_type="text/csv").json()
    assert body["key_id"] != str(key.id)
    assert [one["state"] for one in alice.get("/v1/imports").json()["data"]] == ["queued", "queued"]


def test_projects_and_keys_of_others_are_refused(cast: Cast, token: str) -> None:
    alice = Api(cast.alice)
    theirs, _ = create_api_key(
        org_id=cast.elsewhere.id, project_id=cast.their_project.id, name="theirs", scopes=("ingest",)
    )
    other = create_project(org_id=cast.org.id, name="Other")
    statuses = [
        alice.client.post(f"/v1/imports?{query}", b"{}", content_type="text/csv").status_code
        for query in (
            f"project_id={cast.their_project.id}", f"project_id={uuid4()}", "project_id=x",
            f"project_id={cast.project.id}&key_id={theirs.id}",
        )
    ]  # fmt: skip
    assert statuses == [404, 404, 400, 400]
    assert send(token, b"{}", f"?project_id={other.id}").status_code == 400
    assert send(token, b"{}", f"?key_id={theirs.id}").status_code == 400
    assert stored() == []


def test_a_key_sees_the_imports_of_its_project_only(cast: Cast, token: str) -> None:
    other = create_project(org_id=cast.org.id, name="Other")
    alice = Api(cast.alice)
    made = alice.client.post(f"/v1/imports?project_id={other.id}", b"{}", content_type="text/csv").json()
    assert get(token, "/v1/imports").json()["data"] == []
    for path in ("", "/errors"):
        assert get(token, f"/v1/imports/{made['id']}{path}").status_code == 404
    for path in ("cancel", "resume"):
        assert Api(token=token).post(f"/v1/imports/{made['id']}/{path}").status_code == 404
    assert alice.get(f"/v1/imports/{made['id']}").json()["state"] == "queued"


@pytest.mark.parametrize("packed", PACKERS)
def test_the_file_of_a_form_is_taken_too(cast: Cast, token: str, packed: str) -> None:
    file = SimpleUploadedFile("more.jsonl.gz", PACKERS[packed](jsonl(event() for _ in range(3))))
    headers = {"HTTP_AUTHORIZATION": f"Bearer {token}"}
    answer = Client().post("/v1/imports", {"file": file}, **headers)
    assert (answer.status_code, answer.json()["name"]) == (202, "more.jsonl.gz")
    work(cast)
    assert (counted()[0], stored()) == (3, [])
    empty = Client().post("/v1/imports", {"other": "x"}, **headers)
    assert (empty.status_code, empty.json()["errors"][0]["pointer"]) == (400, "/file")
    two = {"file": [SimpleUploadedFile("a", b"{}"), SimpleUploadedFile("b", b"{}")]}
    assert Client().post("/v1/imports", two, **headers).status_code == 400
    broken = Client().post("/v1/imports", b"xx", content_type="multipart/form-data; boundary=a", **headers)
    assert (broken.status_code, stored()) == (400, [])


def test_a_file_over_the_bound_is_refused_and_nothing_stays(cast: Cast, token: str, settings: Any) -> None:
    settings.USAGE_IMPORT_MAX_BYTES = 1000
    assert send(token, b"x" * 1001).json()["code"] == "payload_too_large"
    form = {"file": SimpleUploadedFile("a", b"x" * 1001)}
    assert Client().post("/v1/imports", form, HTTP_AUTHORIZATION=f"Bearer {token}").status_code == 413
    assert stored() == []
    assert send(token, b"x" * 1000).status_code == 202


def test_a_body_may_be_larger_than_other_requests_bodies(cast: Cast, token: str, settings: Any) -> None:
    settings.MAX_BODY_BYTES = settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 1000
    assert send(token, jsonl(event() for _ in range(20))).status_code == 202
    form = {"file": SimpleUploadedFile("a", jsonl(event() for _ in range(20)))}
    assert Client().post("/v1/imports", form, HTTP_AUTHORIZATION=f"Bearer {token}").status_code == 202


def test_a_body_without_a_length_is_read_to_its_end(cast: Cast, token: str) -> None:
    content = jsonl(event() for _ in range(3))
    answer = Client().generic(
        "POST", "/v1/imports", b"", content_type="application/x-ndjson",
        **{
            "wsgi.input": BytesIO(content), "CONTENT_LENGTH": "", "HTTP_TRANSFER_ENCODING": "chunked",
            "HTTP_AUTHORIZATION": f"Bearer {token}",
        },
    )  # fmt: skip
    assert (answer.status_code, answer.json()["size_bytes"]) == (202, len(content))


@pytest.mark.parametrize(
    ("content", "query", "headers", "status"),
    [
        (b"", "", {}, 400),
        (b"{}", "?format=xml", {}, 400),
        (b"{}", "", {"HTTP_CONTENT_ENCODING": "br"}, 415),
        (b"{}", "", {"HTTP_IDEMPOTENCY_KEY": "x" * 256}, 400),
        (b"{}", "", {"CONTENT_LENGTH": "9999", "wsgi.input": BytesIO(b"{}")}, 400),
    ],
)
def test_what_cannot_be_taken_leaves_no_file(
    cast: Cast, token: str, content: bytes, query: str, headers: dict[str, Any], status: int
) -> None:
    answer = send(token, content, query, **headers)
    assert answer.status_code == status
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert stored() == []


def test_without_room_on_the_disk_nothing_is_taken(cast: Cast, token: str, settings: Any) -> None:
    settings.USAGE_MIN_FREE_BYTES = 1 << 60
    answer = send(token, b"{}")
    assert (answer.status_code, answer.json()["code"], stored()) == (503, "disk_full", [])


def test_a_disk_that_fills_up_meanwhile_leaves_no_file(cast: Cast, token: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(store.os, "fsync", full)
    answer = send(token, b"{}")
    assert (answer.status_code, answer.json()["code"], stored()) == (503, "disk_full", [])


def test_the_same_idempotency_key_is_the_same_import(cast: Cast, token: str) -> None:
    content = jsonl(anonymous() for _ in range(3))
    first, again = (send(token, content, HTTP_IDEMPOTENCY_KEY="monday") for _ in range(2))
    assert (first.json()["id"], again.status_code) == (again.json()["id"], 202)
    assert len(stored()) == 1
    work(cast)
    assert counted()[0] == 3


def test_so_many_unfinished_imports_and_no_more(cast: Cast, token: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(services, "MAX_UNFINISHED", 2)
    statuses = [send(token, b"{}").status_code for _ in range(3)]
    assert (statuses, len(stored())) == ([202, 202, 409], 2)


def test_refused_lines_come_in_pages_with_how_many_there_are(cast: Cast, token: str) -> None:
    made = send(token, b"{}\n" * 5).json()["id"]
    work(cast)
    first = get(token, f"/v1/imports/{made}/errors?limit=3").json()
    assert ([one["line"] for one in first["data"]], first["rejected"], first["kept"]) == ([1, 2, 3], 5, 5)
    rest = get(token, f"/v1/imports/{made}/errors?limit=3&cursor={first['next_cursor']}").json()
    assert ([one["line"] for one in rest["data"]], rest["next_cursor"]) == ([4, 5], None)


def test_an_import_is_cancelled_and_a_failed_one_resumed(cast: Cast, token: str) -> None:
    api = Api(token=token)
    made = send(token, b"{}").json()["id"]
    assert api.post(f"/v1/imports/{made}/resume").json()["state"] == "queued"
    assert api.post(f"/v1/imports/{made}/cancel").json()["state"] == "cancelled"
    assert api.post(f"/v1/imports/{made}/resume").status_code == 409
    assert stored() == []
    failed = send(token, b"{}").json()["id"]
    with org_scope(cast.org.id):
        Import.objects.filter(pk=failed).update(state="failed", failure="The inbox was full")
    assert get(token, f"/v1/imports/{failed}").json()["resumable"] is True
    assert (api.post(f"/v1/imports/{failed}/resume").status_code, len(stored())) == (202, 1)
    assert get(token, f"/v1/imports/{failed}").json()["resumable"] is False
    assert api.post(f"/v1/imports/{uuid4()}/cancel").status_code == 404


def test_a_file_that_can_never_pass_is_not_gone_on_with(cast: Cast, token: str) -> None:
    failed = send(token, b"[").json()["id"]
    work(cast)
    body = get(token, f"/v1/imports/{failed}").json()
    assert (body["state"], body["failure"]) == ("failed", "A JSON array cannot be imported; write one event a line")
    assert body["resumable"] is False
    assert stored() == []
    answer = Api(token=token).post(f"/v1/imports/{failed}/resume")
    assert (answer.status_code, answer.json()["code"]) == (409, "import_failed_for_good")
    assert "A JSON array cannot be imported" in answer.json()["detail"]
    assert get(token, f"/v1/imports/{failed}").json()["state"] == "failed"


def test_an_upload_through_the_session_needs_its_token(cast: Cast) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(User.objects.get(pk=cast.alice.id))
    path = f"/v1/imports?project_id={cast.project.id}"
    assert client.post(path, {"file": SimpleUploadedFile("a", b"{}")}).status_code == 403
    assert client.post(path, b"{}", content_type="text/csv").status_code == 403
    assert stored() == []


def test_the_message_sent_twice_works_twice_and_counts_once(cast: Cast, token: str) -> None:
    send(token, jsonl(anonymous() for _ in range(30)))
    for _ in range(2):
        job.run_imports(org_id=str(cast.org.id))
    with org_scope(cast.org.id):
        assert list(Import.objects.values_list("state", "accepted")) == [("completed", 30)]
    assert counted()[0] == 30


def test_what_the_document_says_of_an_import_is_what_comes(cast: Cast, token: str) -> None:
    made = json.loads(send(token, b"{}").content)
    schema = openapi.schema()["components"]["schemas"]["Import"]
    assert set(made) == set(schema["properties"])
