"""Addresses that are proved, passwords that are forgotten or changed; nobody is told who has an account."""

import functools
import re
from datetime import timedelta
from typing import Any
from unittest import mock

import pytest
from django.contrib.auth import hashers
from django.test import Client

from apps.core import clock
from apps.core.clock import now
from apps.core.tenancy import system_scope
from apps.identity import leaked, services, tasks
from apps.identity.models import Challenge, SignIn, User
from apps.identity.strength import StrengthValidator
from apps.notify.models import EmailMessage
from tests.cast import PASSWORD, Api, at_once, make_person, published, sign_in, trail

NEW = "twelve looms by the river"


@pytest.fixture
def alice(db):
    return make_person("alice")


@pytest.fixture
def worker(monkeypatch) -> list[str]:
    """Does at once what the worker would do after the answer; the names of what was sent to it."""
    sent: list[str] = []

    def at_once_(task, **kwargs) -> None:
        sent.append(task.name)
        task.run(**kwargs)

    for module in ("apps.identity.services.passwords.enqueue", "apps.scheduler.background.enqueue"):
        monkeypatch.setattr(module, at_once_)
    return sent


def mails(to: str, template: str = "") -> list[EmailMessage]:
    with system_scope("the test reads the mail"):
        rows = EmailMessage.objects.filter(to=to).order_by("created_at", "id")
        return list(rows.filter(template=template) if template else rows)


def token_in(mail: EmailMessage) -> str:
    found = re.search(r"/(?:reset|verify)/(\S+)", mail.text)
    assert found is not None
    return found[1]


def login(email: str = "alice@example.com", password: str = PASSWORD, **where):
    return Api(**where).post("/auth/login", {"email": email, "password": password})


# ---------------------------------------------------------------- nobody is told who has an account
@pytest.mark.parametrize("path", ["/auth/forgot", "/auth/verify-email/resend"])
def test_asking_for_mail_is_answered_alike_and_by_the_same_work(alice, worker, path) -> None:
    answers = [Api().post(path, {"email": email}) for email in ("alice@example.com", "nobody@example.com")]
    assert [answer.status_code for answer in answers] == [202, 202]
    assert answers[0].json() == answers[1].json()
    assert worker[0] == worker[1]
    assert len(worker) == 2
    assert not mails("nobody@example.com")


def test_registering_a_taken_address_is_answered_as_a_new_one_and_its_owner_is_told(alice, worker) -> None:
    old = User.objects.get().password
    answers = [
        Api().post("/auth/register", {"email": email, "password": NEW, "name": "Alice"})
        for email in ("Alice@example.com", "carol@example.com")
    ]
    assert [answer.status_code for answer in answers] == [201, 201]
    taken, new = (answer.json() for answer in answers)
    assert set(taken) == set(new)
    assert (taken["email"], taken["name"]) == ("alice@example.com", "Alice")
    assert taken["id"] != str(alice.id), "the id of the owner is not given away"
    assert (User.objects.count(), User.objects.get(email="alice@example.com").password) == (2, old)
    assert [mail.template for mail in mails("alice@example.com")] == ["already_registered"]
    assert [mail.template for mail in mails("carol@example.com")] == ["verify_address"]
    assert [entry.target_label for entry in trail("user.registration_refused")] == ["alice@example.com"]


def test_registering_costs_the_same_hashing_for_a_taken_address(alice, worker) -> None:
    def hashes(email: str) -> int:
        hasher = hashers.get_hasher()
        with mock.patch.object(type(hasher), "encode", autospec=True, side_effect=type(hasher).encode) as encode:
            Api().post("/auth/register", {"email": email, "password": NEW})
        return encode.call_count

    assert hashes("alice@example.com") == hashes("carol@example.com") == 1


def test_where_addresses_are_verified_signing_up_and_in_look_alike_for_a_taken_one(alice, worker, settings) -> None:
    settings.VERIFY_ADDRESSES = True
    pages, logins = [], []
    for email in ("alice@example.com", "carol@example.com"):
        page = Client().post("/signup", {"email": email, "password": NEW, "name": "A"})
        pages.append((page.status_code, re.sub(r"[\w.]+@example\.com|nonce\S+", "", page.content.decode())))
        answer = login(email, NEW)
        logins.append((answer.status_code, answer.json()["code"]))
    assert logins == [(401, "invalid_credentials")] * 2
    assert pages[0][0] == pages[1][0] == 200
    assert len(pages[0][1]) == len(pages[1][1])
    token = token_in(mails("carol@example.com", "verify_address")[0])
    assert Api().post("/auth/verify-email", {"token": token}).status_code == 204
    assert login("carol@example.com", NEW).status_code == 200


def test_nobody_is_flooded_with_mail_and_nobody_is_told(alice, worker) -> None:
    answers = {Api().post("/auth/forgot", {"email": "alice@example.com"}).status_code for _ in range(7)}
    assert answers == {202}
    assert len(mails("alice@example.com", "reset_password")) == 4


# ---------------------------------------------------------------- addresses
def test_a_new_persons_address_is_proved_once_by_the_mails_link(worker, db) -> None:
    Api().post("/auth/register", {"email": "carol@example.com", "password": NEW})
    token = token_in(mails("carol@example.com", "verify_address")[0])
    assert User.objects.get().email_verified_at is None
    assert Api().post("/auth/verify-email", {"token": token}).status_code == 204
    assert User.objects.get().email_verified_at is not None
    assert published("user.updated")[-1]["changed"] == ["email_verified_at"]
    assert Api().post("/auth/verify-email", {"token": token}).json()["code"] == "token_invalid"


def test_an_address_changes_when_the_new_one_is_proved_and_the_old_one_is_told(alice, worker) -> None:
    api = Api(alice)
    assert api.post("/auth/email", {"email": "Al@example.com"}).status_code == 202
    assert User.objects.get().email == "alice@example.com", "nothing changes before"
    services.verify_address(token=token_in(mails("al@example.com", "new_address")[0]))
    assert User.objects.get().email == "al@example.com"
    assert [mail.template for mail in mails("alice@example.com")] == ["address_changed"]
    assert trail("user.updated")[-1].changes["email"] == ["alice@example.com", "al@example.com"]
    assert login("al@example.com").status_code == 200


def test_asking_for_somebody_elses_address_is_answered_alike_and_they_are_told(alice, worker) -> None:
    make_person("bob")
    assert Api(alice).post("/auth/email", {"email": "bob@example.com"}).status_code == 202
    assert [mail.template for mail in mails("bob@example.com")] == ["already_registered"]
    assert not Challenge.objects.exists()


def test_an_address_that_was_taken_meanwhile_changes_nothing(alice, worker) -> None:
    Api(alice).post("/auth/email", {"email": "bob@example.com"})
    make_person("bob")
    token = token_in(mails("bob@example.com", "new_address")[0])
    assert Api().post("/auth/verify-email", {"token": token}).status_code == 404
    assert User.objects.get(pk=alice.id).email == "alice@example.com"


# ---------------------------------------------------------------- a forgotten password
def reset_token(worker) -> str:
    Api().post("/auth/forgot", {"email": "alice@example.com"})
    return token_in(mails("alice@example.com", "reset_password")[-1])


def test_a_reset_sets_the_password_and_ends_every_sign_in_at_once(alice, worker) -> None:
    web, token = Api(alice), login().json()
    answer = Api().post("/auth/reset", {"token": reset_token(worker), "password": NEW})
    assert (answer.status_code, answer.headers["Referrer-Policy"]) == (204, "no-referrer")
    assert web.get("/auth/me").status_code == 401
    assert Api(token=token["access_token"]).get("/auth/me").status_code == 401
    assert Api().post("/auth/refresh", {"refresh_token": token["refresh_token"]}).status_code == 401
    assert [login(password=word).status_code for word in (PASSWORD, NEW)] == [401, 200]
    assert published("user.password.reset") == [{"user_id": str(alice.id)}]
    assert mails("alice@example.com")[-1].template == "password_changed"


def test_a_reset_link_works_once_and_ends_the_others(alice, worker) -> None:
    first, second = reset_token(worker), reset_token(worker)
    assert Api().post("/auth/reset", {"token": second, "password": NEW}).status_code == 204
    for token in (first, second, "x" * 43, "\x00"):
        answer = Api().post("/auth/reset", {"token": token, "password": PASSWORD})
        assert answer.status_code in {400, 404}
    assert login(password=NEW).status_code == 200


def test_a_reset_link_lives_an_hour_and_is_kept_as_a_digest(alice, worker) -> None:
    token = reset_token(worker)
    assert token.encode() not in bytes(Challenge.objects.get().digest)
    with clock.freeze(now() + timedelta(minutes=61)):
        assert Api().post("/auth/reset", {"token": token, "password": NEW}).status_code == 404
    assert login().status_code == 200


@pytest.mark.parametrize("password", [PASSWORD, "alice@example.com", "password1234", "short"])
def test_a_password_that_is_not_good_enough_leaves_the_link_as_it_is(alice, worker, password) -> None:
    token = reset_token(worker)
    answer = Api().post("/auth/reset", {"token": token, "password": password})
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (400, "/password")
    assert Api().post("/auth/reset", {"token": token, "password": NEW}).status_code == 204


@pytest.mark.django_db(transaction=True)
def test_of_two_resets_by_one_link_at_once_one_is_done() -> None:
    make_person("alice")
    services.send_reset(email="alice@example.com")
    token = token_in(mails("alice@example.com", "reset_password")[0])
    results = at_once(*[lambda: services.reset_password(token=token, password=NEW)] * 2)
    assert sorted(type(result).__name__ for result in results) == ["NotFound", "str"]


# ---------------------------------------------------------------- changing it
def test_a_change_asks_for_the_present_password_and_ends_the_other_sign_ins(alice) -> None:
    here, there = Api(alice), Api(alice)
    wrong = here.post("/auth/password", {"current_password": NEW, "new_password": NEW})
    assert (wrong.status_code, wrong.json()["errors"][0]["pointer"]) == (400, "/current_password")
    assert there.get("/auth/me").status_code == 200
    assert here.post("/auth/password", {"current_password": PASSWORD, "new_password": NEW}).status_code == 204
    assert (here.get("/auth/me").status_code, there.get("/auth/me").status_code) == (200, 401)
    assert [login(password=word).status_code for word in (PASSWORD, NEW)] == [401, 200]


@pytest.mark.parametrize("password", ["maria2019!", "qwertyuiop123", "P@ssw0rd1234", "example-alice-1", "1234567890"])
def test_what_is_guessed_easily_is_refused_whatever_kinds_of_characters_it_has(alice, password) -> None:
    answer = Api(alice).post("/auth/password", {"current_password": PASSWORD, "new_password": password})
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (400, "/new_password")


@pytest.mark.parametrize("password", ["levkovvova", "Levkovvova", "irma_yupz1"])
def test_what_leaked_is_refused_however_hard_it_looks_to_guess(alice, password) -> None:
    StrengthValidator().validate(password)
    answer = Api(alice).post("/auth/password", {"current_password": PASSWORD, "new_password": password})
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (400, "/new_password")
    assert "known to have leaked" in answer.json()["errors"][0]["detail"]
    assert login(password=PASSWORD).status_code == 200


def test_the_lists_of_leaked_passwords_are_whole() -> None:
    for name, count in {"leaked_passwords.xz": 1_872_329, "leaked_long_passwords.xz": 2_322_947}.items():
        numbers = leaked.table((leaked.DIRECTORY / name).read_bytes())
        assert len(numbers) == count
        assert (numbers[1:] > numbers[:-1]).all()
    assert not leaked.is_leaked("tq8%kP0!vz")
    assert not leaked.is_leaked("levkovvova, but longer")
    assert leaked.is_leaked("Theoderich123"), "longer ones too, and in small letters"
    with pytest.raises(ValueError, match="too short"):
        leaked.packed(["levkovvova", "irma_yupz1"], range(10, 11))


def test_words_alone_are_enough(alice) -> None:
    body = {"current_password": PASSWORD, "new_password": "correct weaver battery loom"}
    assert Api(alice).post("/auth/password", body).status_code == 204


# ---------------------------------------------------------------- guesses from everywhere
def test_guesses_from_many_networks_keep_nobody_out_who_was_here_before(
    alice, monkeypatch, django_capture_on_commit_callbacks
) -> None:
    from apps.core.ratelimit import Limit
    from apps.identity.services import passwords

    login(ip="198.51.100.1")
    monkeypatch.setattr(passwords, "_PER_ACCOUNT", Limit("login-account", 5, 3600))
    guesses = [login(password="no", ip=f"203.0.113.{n}").status_code for n in range(7)]
    assert guesses == [401] * 5 + [429] * 2
    assert login(ip="203.0.113.99").status_code == 429, "nor does the right password tell that it is right"
    assert login(ip="198.51.100.1").status_code == 200, "the owner, where they signed in before"
    services.send_reset(email="alice@example.com")
    token = token_in(mails("alice@example.com", "reset_password")[0])
    with django_capture_on_commit_callbacks() as after:
        services.reset_password(token=token, password=NEW)
    for work in after:
        if not isinstance(work, functools.partial):  # what is sent to a worker
            work()
    assert login(password=NEW, ip="203.0.113.99").status_code == 200, "and anywhere else by a new password"


def test_guesses_of_strangers_keep_nobody_out_of_a_browser_they_signed_in_with_before(alice, monkeypatch) -> None:
    from apps.core.ratelimit import Limit
    from apps.identity.services import passwords

    monkeypatch.setattr(passwords, "_PER_ACCOUNT", Limit("login-account", 5, 3600))
    monkeypatch.setattr(passwords, "_PER_DEVICE", Limit("login-device", 3, 300))
    known, fresh, cafe = Client(), Client(), "203.0.113.50"

    def enter(client: Client, email: str = "alice@example.com", password: str = PASSWORD, ip: str = cafe) -> int:
        sent = {"email": email, "password": password}
        return client.post("/login", sent, headers={"x-forwarded-for": ip}, REMOTE_ADDR=ip).status_code

    assert enter(known, ip="198.51.100.1") == 302
    cookie = known.cookies["mw_device"]
    assert (cookie["path"], cookie["httponly"], cookie["samesite"]) == ("/", True, "Lax")
    assert "alice" not in cookie.value
    known.post("/logout")
    assert [login(password="no", ip=f"203.0.113.{n}").status_code for n in range(6)] == [401] * 5 + [429]
    assert enter(fresh) == 429, "a browser that nobody knows, and the right password"
    fresh.cookies["mw_device"] = cookie.value.replace(cookie.value[-5:], "wrong")
    assert enter(fresh) == 429, "nor one that says it is known"
    fresh.cookies["mw_device"] = cookie.value
    make_person("bobby")
    assert enter(fresh, email="bobby@example.com", password="no") == 400, (
        "a cookie is of one person: counted as anybody"
    )
    assert enter(known) == 302
    known.post("/logout")
    assert [enter(known, password="no") for _ in range(4)] == [400, 400, 400, 429], "few guesses of its own"
    # Whoever knew the password once may have made themselves many browsers.
    monkeypatch.setattr(passwords, "_PER_DEVICE", Limit("login-device-2", 1, 300))
    monkeypatch.setattr(passwords, "_PER_OWNER", Limit("login-owner-2", 2, 300))
    others = [Client() for _ in range(3)]
    for other in others:
        assert enter(other, ip="198.51.100.1") == 302
        other.post("/logout")
    assert [enter(other, password="no") for other in others] == [400, 400, 429], "and few of all theirs together"


def test_a_browser_is_known_however_its_person_proved_who_they_are(alice, worker, monkeypatch) -> None:
    from apps.core.ratelimit import Limit
    from apps.identity.services import passwords

    monkeypatch.setattr(passwords, "_PER_ACCOUNT", Limit("login-account", 3, 3600))
    browser = {"sec-fetch-site": "same-origin", "x-forwarded-for": "203.0.113.50"}

    def by_api(client: Client, password: str = PASSWORD, **headers: str) -> Any:
        body = {"email": "alice@example.com", "password": password}
        return client.post("/auth/login", body, content_type="application/json", headers={**browser, **headers})

    signed_in, program, reset = Client(), Client(), Client()
    assert by_api(signed_in).status_code == 200
    assert by_api(program, **{"sec-fetch-site": ""}).status_code == 200
    assert "mw_device" not in program.cookies, "what is no browser has nowhere to keep it"
    assert by_api(Client(), **{"sec-fetch-site": "cross-site"}).cookies.get("mw_device") is None
    assert [login(password="no", ip=f"203.0.113.{n}").status_code for n in range(4)] == [401] * 3 + [429]
    SignIn.objects.update(ip="192.0.2.1")
    assert by_api(Client()).status_code == 429
    assert by_api(signed_in).status_code == 200
    # Who is signed in changes and confirms by a count of their own sign-in.
    api = Api(alice)
    assert api.post("/auth/step-up", {"password": PASSWORD}).status_code == 200
    api.client.post("/forgot", {"email": "alice@example.com"})
    reset.get(f"/reset/{token_in(mails('alice@example.com', 'reset_password')[0])}")
    assert reset.post("/reset", {"password": NEW}).status_code == 302
    assert "mw_device" in reset.cookies


# ---------------------------------------------------------------- pages
def test_the_pages_of_a_forgotten_password_lead_to_a_new_one(alice, worker) -> None:
    client = Client()
    same = [client.post("/forgot", {"email": f"{name}@example.com"}).content for name in ("alice", "bobby")]
    assert same[0].replace(b"alice@", b"bobby@") == same[1]
    link = client.get(f"/reset/{token_in(mails('alice@example.com', 'reset_password')[0])}")
    assert (link["Location"], link["Referrer-Policy"]) == ("/reset", "no-referrer")
    page = client.get("/reset")
    # With "no-referrer" a browser would send the form with "Origin: null", and it would be refused as forged.
    assert (page["Referrer-Policy"], "no-store" in page["Cache-Control"]) == ("same-origin", True)
    assert client.post("/reset", {"password": "password1234"}).status_code == 400
    assert client.post("/reset", {"password": NEW})["Location"] == "/login"
    assert "Your password is set" in client.get("/login").content.decode()
    assert client.get("/reset").status_code == 404


def test_following_the_link_of_an_address_proves_nothing_before_the_click(worker, db) -> None:
    Api().post("/auth/register", {"email": "carol@example.com", "password": NEW})
    client = Client()
    client.get(f"/verify/{token_in(mails('carol@example.com', 'verify_address')[0])}", follow=True)
    assert User.objects.get().email_verified_at is None
    assert client.get("/verify")["Referrer-Policy"] == "same-origin"
    assert client.post("/verify")["Location"] == "/login"
    assert User.objects.get().email_verified_at is not None


def test_the_pages_of_the_account_change_what_they_say(alice) -> None:
    client = Client()
    sign_in(client, User.objects.get())
    assert client.post("/account", {"name": "Al", "timezone": "Europe/Vienna"}).status_code == 302
    user = User.objects.get()
    assert (user.name, user.timezone) == ("Al", "Europe/Vienna")
    assert client.post("/account/password", {"current_password": PASSWORD, "new_password": NEW}).status_code == 302
    assert client.get("/account/sessions").status_code == 200, "this sign-in goes on"


def test_the_page_of_sign_ins_ends_one_and_all_others(alice) -> None:
    client, there, program = Client(), Api(alice), login().json()["access_token"]
    sign_in(client, User.objects.get())
    page = client.get("/account/sessions").content.decode()
    assert page.count("This one") == 1
    row = SignIn.objects.get(kind="api")
    client.post(f"/account/sessions/{row.pk}/end")
    assert Api(token=program).get("/auth/me").status_code == 401
    assert there.get("/auth/me").status_code == 200
    client.post("/account/sessions/end")
    assert there.get("/auth/me").status_code == 401
    assert client.get("/account/sessions").status_code == 200


# ---------------------------------------------------------------- the API of sign-ins and of oneself
def test_sign_ins_are_listed_and_ended_over_the_api(alice) -> None:
    body = login().json()
    api, web = Api(token=body["access_token"]), Api(alice)
    rows = api.get("/auth/sessions").json()["data"]
    assert [(row["kind"], row["current"]) for row in rows] == [("api", True), ("web", False)]
    assert api.delete(f"/auth/sessions/{rows[1]['id']}").status_code == 204
    assert web.get("/auth/me").status_code == 401
    assert api.delete("/auth/sessions").json() == {"ended": 0}
    assert api.get("/auth/me").status_code == 200


def test_nobody_ends_somebody_elses_sign_in(alice) -> None:
    bob = Api(make_person("bob"))
    Api(alice)
    row = SignIn.objects.get(user_id=alice.id)
    assert bob.delete(f"/auth/sessions/{row.pk}").status_code == 404
    assert SignIn.objects.get(pk=row.pk).ended_at is None


def test_people_say_what_they_are_called_and_where(cast) -> None:
    api = Api(cast.alice)
    body = {"name": "Al", "timezone": "Europe/Vienna", "default_org_id": str(cast.org.id)}
    assert api.patch("/auth/me", body).json() | body == api.get("/auth/me").json()
    assert published("user.updated")[-1]["changed"] == ["default_org_id", "name", "timezone"]
    for wrong in ({"timezone": "Mars/Base"}, {"default_org_id": str(cast.elsewhere.id)}, {"email": "x@example.com"}):
        answer = api.patch("/auth/me", wrong)
        assert answer.status_code == 400
        assert answer.json()["errors"][0]["pointer"] == f"/{next(iter(wrong))}"
    assert api.get("/auth/me").json()["timezone"] == "Europe/Vienna"


def test_the_tasks_of_a_worker_do_what_they_are_called_for(alice) -> None:
    tasks.reset_mail.run(email="alice@example.com")
    tasks.after_sign_up.run(email="alice@example.com", is_new=False)
    tasks.verification.run(email="alice@example.com")
    assert [mail.template for mail in mails("alice@example.com")] == ["reset_password", "already_registered"]
