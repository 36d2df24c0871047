"""Who is staff: by command, audited, and dismissed at once."""

import io
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.test import Client

from apps.identity.models import SignIn, User
from apps.identity.services import login
from mindweave.admin_site import StaffSite
from tests.cast import PASSWORD, make_person, published, trail

pytestmark = pytest.mark.django_db
NEW = "olga@example.com"


def run(*args: str, stdin: str = "", monkeypatch: Any = None) -> str:
    out = io.StringIO()
    if monkeypatch is not None:
        monkeypatch.setattr("sys.stdin", io.StringIO(stdin))
    call_command("create_staff", *args, stdout=out)
    return out.getvalue()


def test_the_first_account_is_made_with_a_password_that_is_shown_once_and_works() -> None:
    said = run(" Olga@Example.com ", "--name", "Olga")
    password = said.split("shown this once: ")[1].strip()
    user = User.objects.get(email=NEW)
    assert (user.is_staff, user.is_superuser, user.name) == (True, False, "Olga")
    assert login(email=NEW, password=password)
    client = Client()
    client.post("/login", {"email": NEW, "password": password})
    assert client.get("/admin/", follow=True).redirect_chain[-1][0].startswith("/admin/enrol/")
    (entry,) = trail("user.created")
    assert (entry.actor_label, entry.target_label) == ("create_staff", NEW)
    assert password not in str(entry.changes)


def test_a_password_is_taken_from_standard_input_and_not_printed(monkeypatch) -> None:
    said = run(NEW, "--password-stdin", stdin="cormorant-over-the-mill\n", monkeypatch=monkeypatch)
    assert "cormorant" not in said
    assert "shown this once" not in said
    assert login(email=NEW, password="cormorant-over-the-mill")


@pytest.mark.parametrize(("password", "why"), [("", "too short"), ("password1234", "too common")])
def test_a_weak_password_is_refused_with_the_reason(monkeypatch, password, why) -> None:
    make_person("alice")
    for email in (NEW, "alice@example.com"):
        with pytest.raises(CommandError, match=why):
            run(email, "--password-stdin", stdin=password, monkeypatch=monkeypatch)
    assert not User.objects.filter(is_staff=True).exists()
    assert not User.objects.filter(email=NEW).exists()
    assert trail("user.updated") == []


def test_what_is_no_address_is_refused() -> None:
    with pytest.raises(CommandError, match="not an e-mail address"):
        run("olga")
    assert not User.objects.exists()


def test_somebody_who_is_known_is_promoted_and_keeps_their_password() -> None:
    alice = make_person("alice")
    assert "Password" not in run("alice@example.com")
    assert User.objects.get(pk=alice.id).is_staff
    assert login(email="alice@example.com", password=PASSWORD)
    (entry,) = trail("user.updated")
    assert (entry.actor_label, entry.changes) == ("create_staff", {"is_staff": [False, True]})
    assert published("user.updated") == [{"user_id": str(alice.id), "changed": ["is_staff"]}]
    with pytest.raises(CommandError, match="staff already"):
        run("alice@example.com")
    assert len(trail("user.updated")) == 1


def test_a_new_password_of_somebody_known_ends_their_sign_ins_and_is_not_told(monkeypatch) -> None:
    make_person("alice")
    login(email="alice@example.com", password=PASSWORD)
    run("alice@example.com", "--password-stdin", stdin="cormorant-over-the-mill", monkeypatch=monkeypatch)
    assert login(email="alice@example.com", password="cormorant-over-the-mill")
    assert SignIn.objects.filter(ended_at__isnull=False).count() == 1
    (entry,) = trail("user.updated")
    assert entry.changes["password"] == ["[redacted]", "[redacted]"]


def test_a_deactivated_person_is_not_promoted() -> None:
    alice = make_person("alice")
    User.objects.filter(pk=alice.id).update(is_active=False)
    with pytest.raises(CommandError, match="deactivated"):
        run("alice@example.com")
    assert not User.objects.get(pk=alice.id).is_staff


def test_removing_closes_the_staff_admin_at_once_and_leaves_the_person(monkeypatch) -> None:
    # That the second factor was proved; that itself is tested beside this.
    monkeypatch.setattr(StaffSite, "has_permission", lambda self, request: request.user.is_staff)
    alice = make_person("alice")
    run("alice@example.com")
    client = Client()
    client.force_login(User.objects.get(pk=alice.id))
    login(email="alice@example.com", password=PASSWORD)
    assert client.get("/admin/").status_code == 200
    run("alice@example.com", "--remove")
    assert client.get("/admin/").status_code == 302
    assert SignIn.objects.filter(ended_at__isnull=True).count() == 0
    user = User.objects.get(pk=alice.id)
    assert (user.is_staff, user.is_active) == (False, True)
    assert [entry.reason for entry in trail("user.updated") + trail("user.session.invalid")] == [
        "admitted to the staff", "dismissed from the staff", "dismissed_from_staff",
    ]  # fmt: skip
    for email, why in (("alice@example.com", "not staff"), ("nobody@example.com", "Nobody is registered")):
        with pytest.raises(CommandError, match=why):
            run(email, "--remove")
