"""The trail taken away: whole, safe to open, and proof of itself for whoever has the file and the public keys."""

import csv
import io
import json
import subprocess
import sys
from pathlib import Path

import pytest
from django.db import connection

from apps.audit import export
from apps.audit.chain import seal_all
from apps.audit.contracts import AuditFilter
from apps.audit.export import export_lines
from apps.audit.services import forget_person
from apps.core.ids import uuid7
from tests.audit.chains import ACTION, ALICE, chain, entry, tampered
from tests.cast import Api, Cast, trail

SCRIPT = Path(__file__).parents[2] / "docs" / "verify_audit.py"


def lines(org_id, form="jsonl", **wanted) -> list[str]:
    return list(export_lines(org_id, AuditFilter(**wanted), form))


def check(tmp_path, text: str) -> subprocess.CompletedProcess:
    file = tmp_path / "export.jsonl"
    file.write_text(text)
    return subprocess.run([sys.executable, str(SCRIPT), str(file)], capture_output=True, text=True)


@pytest.mark.django_db(transaction=True)
def test_an_outsider_verifies_an_export_with_nothing_but_the_file(tmp_path) -> None:
    org_id, _ = chain(5)
    done = check(tmp_path, "".join(lines(org_id)))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "5 entries, positions 1 to 5" in done.stdout


@pytest.mark.django_db(transaction=True)
def test_an_export_with_erased_people_verifies(tmp_path) -> None:
    org_id, person = uuid7(), uuid7()
    entry(org_id, target_type="member", target_id=person, target_label="bob@example.com")
    seal_all()
    forget_person(user_id=person)
    text = "".join(lines(org_id))
    assert "bob@example.com" not in text
    assert check(tmp_path, text).returncode == 0


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("what", ["action", "label", "gone", "exchanged"])
def test_an_export_that_was_changed_does_not_verify(tmp_path, what) -> None:
    org_id, _ = chain(5)
    out = lines(org_id)
    body = json.loads(out[2])
    if what == "action":
        body["action"] = body["proof"]["entry"]["action"] = "job.enabled"
    elif what == "label":
        body["actor"]["label"] = "mallory@example.com"
    if what == "gone":
        del out[2]
    elif what == "exchanged":
        body["proof"]["position"], other = 3, json.loads(out[3])
        other["proof"]["position"] = 2
        out[2], out[3] = json.dumps(body), json.dumps(other)
    else:
        out[2] = json.dumps(body)
    done = check(tmp_path, "\n".join(line.strip() for line in out))
    assert done.returncode == 1
    assert "position 2" in done.stdout or "position 3" in done.stdout


@pytest.mark.django_db(transaction=True)
def test_a_forged_chain_fails_at_its_signature(tmp_path) -> None:
    org_id, _ = chain(2)
    with tampered("UPDATE audit_checkpoint SET signature = sha256('x') WHERE chain_id = %(org)s", org=org_id):
        done = check(tmp_path, "".join(lines(org_id)))
    assert done.returncode == 1
    assert "signature" in done.stdout


@pytest.mark.django_db(transaction=True)
def test_batches_join(monkeypatch) -> None:
    monkeypatch.setattr(export, "_BATCH", 2)
    org_id, ids = chain(5)
    assert [json.loads(line)["id"] for line in lines(org_id)[1:-2]] == [str(each) for each in ids]


def test_a_cell_is_never_a_formula(db) -> None:
    org_id = uuid7()
    entry(org_id, target_label='=HYPERLINK("http://evil")', reason="+1", after={"x": 'a,"b"\n'})
    header, row = csv.reader(io.StringIO("".join(lines(org_id, "csv"))))
    found = dict(zip(header, row, strict=True))
    assert found["target"] == '\'=HYPERLINK("http://evil")'
    assert found["reason"] == "'+1"
    assert json.loads(found["changes"]) == {"x": [None, 'a,"b"\n']}
    assert (found["actor"], found["ip"]) == (ALICE.label, ALICE.ip)


def test_cef_is_escaped_as_its_rules_say(db) -> None:
    org_id = uuid7()
    entry(org_id, target_id="a|b=c\\d", target_label="two\nlines", reason="x=y")
    (line,) = lines(org_id, "cef")
    *head, extension = line.rstrip("\n").split("|", 7)
    assert "|".join(head) == f"CEF:0|MindWeave|MindWeave|1|{ACTION}|Delivery of events to a subscription was stopped|3"
    assert r"cs2=a|b\=c\\d" in extension
    assert "suser=alice@example.com" in extension
    assert r"cs3=two\nlines" in line
    assert r"reason=x\=y" in line
    assert line.count("\n") == 1


def test_the_api_exports_and_the_export_is_recorded(cast: Cast) -> None:
    response = Api(cast.alice).get("/audit/export", {"format": "csv", "action": "project.created"})
    assert response.status_code == 200
    text = b"".join(response.streaming_content).decode()
    assert "Weaver" in text
    assert "Theirs" not in text
    (told,) = trail("audit.exported")
    assert told.changes == {"format": [None, "csv"], "action": [None, "project.created"]}


def test_who_may_not_read_the_trail_does_not_export_it(cast: Cast) -> None:
    assert Api(cast.bob).get("/audit/export").status_code == 403
    assert trail("audit.exported") == []


def test_one_entry_is_read_by_its_id(cast: Cast) -> None:
    (made,) = trail("project.created", org_id=cast.org.id)
    assert Api(cast.alice).get(f"/audit/{made.id}").json()["target"]["label"] == "Weaver"
    (theirs,) = trail("project.created", org_id=cast.elsewhere.id)
    assert Api(cast.alice).get(f"/audit/{theirs.id}").status_code == 404


@pytest.mark.django_db(transaction=True)
def test_the_api_verifies_in_pieces(monkeypatch, request) -> None:
    monkeypatch.setattr("apps.audit.verify._BATCH", 3)
    monkeypatch.setattr("apps.audit.api.VERIFY_SECONDS", 0)
    from tests.cast import make_cast

    cast = make_cast()
    seal_all()
    alice, cursor, entries = Api(cast.alice), None, 0
    while True:
        body = alice.get("/audit/verify", {"cursor": cursor} if cursor else {}).json()
        assert (body["is_whole"], body["broken"]) == (True, None)
        entries, cursor = entries + body["entries"], body["next_cursor"]
        if cursor is None:
            break
    assert body["is_complete"]
    with connection.cursor() as db_cursor:
        db_cursor.execute("SELECT position FROM audit_chain WHERE chain_id = %s", [cast.org.id])
        assert db_cursor.fetchone()[0] == entries == body["to_position"]


def test_the_public_keys_are_public(db) -> None:
    assert set(Api().get("/audit/keys").json()) == {"keys"}
