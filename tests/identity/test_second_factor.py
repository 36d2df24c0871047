"""The second factor: enrolling, signing in with it, and what staff need it for."""

import pytest
from allauth.mfa.models import Authenticator
from allauth.mfa.recovery_codes.internal.auth import RecoveryCodes
from allauth.mfa.totp.internal.auth import format_hotp_value, hotp_value
from django.contrib.admin import ModelAdmin
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from apps.core import clock
from apps.core.clock import now
from apps.core.errors import Conflict, NotAuthenticated, PermissionDenied, ValidationFailed
from apps.core.tenancy import system_scope
from apps.identity import mfa, services
from apps.identity.first_step import first_factor_of
from apps.identity.models import FactorDevice, SignIn, User
from apps.identity.ports import login_policy
from mindweave.admin_site import staff_site
from tests.cast import PASSWORD, Api, Cast, at_once, make_key, make_person, published, trail


class Phone:
    """An authenticator app that gives the codes of three steps, one after the other."""

    def __init__(self, secret: str) -> None:
        self.secret = secret
        self.steps = iter((-1, 0, 1))

    def code(self) -> str:
        return format_hotp_value(hotp_value(self.secret, int(now().timestamp()) // 30 + next(self.steps)))


@pytest.fixture(autouse=True)
def _time_stands_still():
    """So that no step of thirty seconds ends between a code and its check."""
    with clock.freeze(now()):
        yield


def enrol(user: User) -> tuple[Phone, list[str]]:
    phone = Phone(mfa.new_enrolment(user).secret)
    return phone, mfa.enable_totp(user=user, secret=phone.secret, code=phone.code())


@pytest.fixture
def alice(db) -> User:
    return User.objects.get(pk=make_person("alice").id)


def login() -> dict:
    answer = Api().post("/auth/login", {"email": "alice@example.com", "password": PASSWORD})
    assert answer.status_code == 401
    return answer.json()


def verify(token: str, code: str):
    return Api().post("/auth/mfa/verify", {"mfa_token": token, "code": code})


# ---------------------------------------------------------------- enrolling
def test_enrolling_takes_a_right_code_and_gives_recovery_codes(alice) -> None:
    enrolment = mfa.new_enrolment(alice)
    assert enrolment.uri.startswith("otpauth://totp/alice%40example.com?")
    assert "issuer=MindWeave" in enrolment.uri
    assert enrolment.secret in enrolment.uri
    assert enrolment.svg.lstrip().startswith(("<?xml", "<svg"))
    with pytest.raises(ValidationFailed):
        mfa.enable_totp(user=alice, secret=enrolment.secret, code="000000")
    assert not Authenticator.objects.exists()
    _, codes = enrol(alice)
    assert len(set(codes)) == len(codes) == 10
    assert published("user.mfa.enabled") == [{"user_id": str(alice.pk), "type": "totp"}]
    with pytest.raises(Conflict):
        enrol(alice)


def test_the_secrets_of_factors_are_encrypted_where_they_are_kept(alice) -> None:
    phone, codes = enrol(alice)
    with connection.cursor() as cursor:
        cursor.execute("SELECT string_agg(data::text, ' ') FROM mfa_authenticator")
        stored = cursor.fetchone()[0]
    assert phone.secret not in stored
    assert not any(code in stored for code in codes)
    assert "mfa" not in str([entry.changes for entry in trail("user.mfa.enabled")]).replace("totp", "")


# ---------------------------------------------------------------- signing in over the API
def test_a_right_password_is_half_of_a_sign_in(alice) -> None:
    phone, _ = enrol(alice)
    pending = login()
    assert pending["code"] == "mfa_required"
    assert set(pending) >= {"type", "title", "status", "detail", "correlation_id", "mfa_token"}
    assert Api(token=pending["mfa_token"]).get("/auth/me").status_code == 401
    answer = verify(pending["mfa_token"], phone.code())
    assert answer.status_code == 200
    assert Api(token=answer.json()["access_token"]).get("/auth/me").status_code == 200
    assert [event["method"] for event in published("user.login")] == ["password+mfa"]


def test_a_code_works_once(alice) -> None:
    phone, _ = enrol(alice)
    first, second = phone.code(), phone.code()
    assert verify(login()["mfa_token"], second).status_code == 200
    for used in (second, first):
        again = verify(login()["mfa_token"], used)
        assert (again.status_code, again.json()["code"]) == (401, "invalid_mfa_code"), "nor does an earlier one"
    assert not mfa.device_of(alice).verify_token(second), "django-otp asks the same store"


def test_the_code_of_the_enrolment_is_used_up_by_it(alice) -> None:
    phone = Phone(mfa.new_enrolment(alice).secret)
    code = phone.code()
    mfa.enable_totp(user=alice, secret=phone.secret, code=code)
    assert verify(login()["mfa_token"], code).status_code == 401
    assert mfa.device_of(alice).verify_token(phone.code())


def test_a_recovery_code_works_once(alice) -> None:
    _, codes = enrol(alice)
    assert verify(login()["mfa_token"], codes[0]).status_code == 200
    assert verify(login()["mfa_token"], codes[0]).status_code == 401
    assert verify(login()["mfa_token"], f" {codes[1]} ").status_code == 200


@pytest.mark.parametrize("code", ["000000", "x", "\u0663" * 6, "' OR 1=1"])
def test_a_wrong_code_is_refused(alice, code) -> None:
    enrol(alice)
    answer = verify(login()["mfa_token"], code)
    assert (answer.status_code, answer.json()["code"]) == (401, "invalid_mfa_code")
    assert published("user.login") == []


def test_a_forged_or_old_token_of_the_first_step_is_refused(alice) -> None:
    phone, _ = enrol(alice)
    code = phone.code()
    assert verify("abc.def.ghi", code).json()["code"] == "invalid_token"
    User.objects.update(is_active=False)
    from apps.identity.jwt import issue_mfa_token

    token = issue_mfa_token(user_id=alice.pk, shown=first_factor_of(alice))
    assert verify(token, code).json()["code"] == "invalid_token"


def test_between_the_two_steps_the_password_must_stay_the_same(alice) -> None:
    phone, _ = enrol(alice)
    browser = Client()
    assert browser.post("/login", {"email": "alice@example.com", "password": PASSWORD})["Location"] == "/login/code"
    token = login()["mfa_token"]
    user = User.objects.get(pk=alice.pk)
    user.set_password("another that its owner set meanwhile")
    user.save(update_fields=["password"])
    assert verify(token, phone.code()).json()["code"] == "invalid_token"
    assert browser.get("/login/code")["Location"] == "/login"
    assert browser.post("/login/code", {"code": phone.code()})["Location"] == "/login"
    assert not SignIn.objects.filter(user=alice).exists()


def test_what_the_login_policy_says_by_the_second_step_counts(alice, monkeypatch) -> None:
    phone, _ = enrol(alice)
    browser = Client()
    browser.post("/login", {"email": "alice@example.com", "password": PASSWORD})
    token = login()["mfa_token"]

    class SingleSignOn:
        def refusal(self, email: str, method: str) -> PermissionDenied:
            return PermissionDenied("Sign in through your organisation", code="sso_required")

    monkeypatch.setattr(login_policy, "get", SingleSignOn)
    code = phone.code()
    assert verify(token, code).json()["code"] == "sso_required"
    assert b"Sign in through your organisation" in browser.post("/login/code", {"code": code}).content
    assert not SignIn.objects.filter(user=alice).exists()


@pytest.mark.django_db(transaction=True)
def test_whoever_gets_another_password_in_the_moment_of_a_sign_in_is_not_signed_in_by_the_old_one(alice) -> None:
    user = User.objects.get(pk=alice.pk)
    User.objects.update(password="argon2$of another")
    with pytest.raises(NotAuthenticated):
        services.start_sign_in(user, method="password", ip=None, user_agent="")
    assert not SignIn.objects.filter(user=alice).exists()
    assert trail("user.login", target_id=str(alice.pk)) == []


def test_guessing_codes_is_stopped(alice) -> None:
    phone, _ = enrol(alice)
    token = login()["mfa_token"]
    assert [verify(token, "000000").status_code for _ in range(9)] == [401] * 8 + [429]
    assert verify(token, phone.code()).status_code == 429


def test_removing_the_factors_lets_the_password_do_again(alice) -> None:
    enrol(alice)
    mfa.disable_totp(user=alice, reason="lost phone")
    assert Api().post("/auth/login", {"email": "alice@example.com", "password": PASSWORD}).status_code == 200
    assert not FactorDevice.objects.exists()
    assert [entry.reason for entry in trail("user.mfa.disabled")] == ["lost phone"]


@pytest.mark.django_db(transaction=True)
def test_of_two_sign_ins_with_the_same_recovery_code_at_once_one_is_let_in() -> None:
    user = User.objects.get(pk=make_person("alice").id)
    _, codes = enrol(user)
    results = at_once(*[lambda: services.valid_second_factor(user, codes[0])] * 2)
    assert sorted(results) == [False, True]
    factor = Authenticator.objects.get(type=Authenticator.Type.RECOVERY_CODES)
    assert len(RecoveryCodes(factor).get_unused_codes()) == 9


# ---------------------------------------------------------------- the staff admin
@pytest.fixture
def staff(db) -> User:
    return User.objects.get(pk=make_person("staff", is_staff=True).id)


def browser(user: User | None = None) -> Client:
    client = Client(headers={"accept": "text/html"})
    if user is not None:
        client.force_login(user)
    return client


def enter(client: Client) -> Phone:
    """Enrol and so enter the staff admin."""
    client.get("/admin/enrol/")
    phone = Phone(client.get("/admin/enrol/").context["enrolment"].secret)
    answer = client.post("/admin/enrol/", {"code": phone.code()})
    assert answer.status_code == 200
    assert len(answer.context["codes"]) == 10
    return phone


def test_who_is_not_staff_does_not_enter(staff, alice) -> None:
    assert browser().get("/admin/").headers["Location"] == "/admin/login/?next=/admin/"
    assert browser().get("/admin/login/?next=/admin/").headers["Location"].startswith("/login?next=")
    for path in ("/admin/login/", "/admin/enrol/", "/admin/verify/"):
        assert browser(alice).get(path).status_code == 403
    assert browser(alice).get("/admin/identity/user/").status_code == 302


def test_staff_are_led_to_enrol_a_second_factor_and_enter_by_it(staff) -> None:
    client = browser(staff)
    led = client.get("/admin/identity/user/?q=a&o=1", follow=True)
    assert led.redirect_chain[-1][0].startswith("/admin/enrol/")
    assert led.context["next"] == "/admin/identity/user/?q=a&o=1"
    assert b"<svg" in led.content
    assert led.context["enrolment"].secret not in str(dict(client.session)), "nor is a pending secret kept in clear"
    wrong = client.post("/admin/enrol/", {"code": "000000"})
    assert b'role="alert"' in wrong.content
    assert client.get("/admin/").status_code == 302
    enter(client)
    assert client.get("/admin/").status_code == 200


def test_staff_with_a_factor_are_asked_for_it_in_each_session(staff) -> None:
    phone = enter(browser(staff))
    client = browser(staff)
    assert client.get("/admin/", follow=True).redirect_chain[-1][0].startswith("/admin/verify/")
    assert client.get("/admin/enrol/").headers["Location"].startswith("/admin/verify/"), "not to be enrolled over"
    assert client.post("/admin/verify/", {"code": "000000"}).status_code == 200
    assert client.get("/admin/").status_code == 302
    away = client.post("/admin/verify/", {"code": phone.code(), "next": "https://evil.example/admin/"})
    assert away.headers["Location"] == "/admin/"
    assert client.get("/admin/").status_code == 200


def test_a_sign_in_with_the_second_factor_need_not_be_repeated_for_the_admin(staff) -> None:
    phone = enter(browser(staff))
    client = browser()
    client.post("/login", {"email": staff.email, "password": PASSWORD})
    assert client.get("/admin/").status_code == 302
    client.post("/login/code", {"code": phone.code()})
    assert client.get("/admin/").status_code == 200


def _own_models() -> list:
    return [model for model in staff_site._registry if model.__module__.startswith("apps.")]


@pytest.fixture
def office(staff) -> Client:
    client = browser(staff)
    enter(client)
    return client


def _list_of(model) -> str:
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist")


@pytest.mark.parametrize("model", _own_models(), ids=lambda model: model._meta.label)
def test_every_list_opens_searches_and_lets_nobody_add_or_delete(office, cast, model) -> None:
    assert office.get(_list_of(model)).status_code == 200
    assert office.get(_list_of(model), {"q": "a"}).status_code == 200
    request = office.get(_list_of(model)).wsgi_request
    with system_scope("staff admin"):
        assert not staff_site._registry[model].has_delete_permission(request)
        # What can be added is added through a service, which the model's admin calls.
        own_save = type(staff_site._registry[model]).save_model is not ModelAdmin.save_model
        assert own_save or not staff_site._registry[model].has_add_permission(request)


@pytest.mark.parametrize("path", ["identity/user", "accounts/membership", "projects/apikey", "projects/project"])
def test_a_list_costs_the_same_number_of_queries_however_long(office, cast, path) -> None:
    def queries() -> int:
        with CaptureQueriesContext(connection) as captured:
            assert office.get(f"/admin/{path}/").status_code == 200
        return len(captured)

    make_key(cast)
    queries()
    few = queries()
    more(cast)
    assert queries() == few


def more(cast: Cast) -> None:
    from apps.accounts.services import add_member
    from apps.projects.services import create_project

    for n in range(5):
        person = make_person(f"person{n}")
        add_member(org_id=cast.org.id, user_id=person.id, role="viewer")
        project = create_project(org_id=cast.org.id, name=f"Project {n}")
        make_key(cast, project_id=project.id, owner_id=person.id)


def test_secrets_do_not_show_in_the_admin(office, cast) -> None:
    key, token = make_key(cast)
    body = office.get(f"/admin/projects/apikey/{key.id}/change/").content.decode()
    assert key.prefix in body
    assert token not in body
    assert "digest" not in body.lower()
    assert "argon2" not in office.get(f"/admin/identity/user/{cast.alice.id}/change/").content.decode()


def _act(office: Client, path: str, action: str, *ids) -> None:
    data = {"action": action, "_selected_action": [str(each) for each in ids]}
    assert office.post(f"/admin/{path}/", data, follow=True).status_code == 200


def test_actions_call_services_in_the_name_of_the_staff(office, cast, staff) -> None:
    key, _ = make_key(cast)
    _act(office, "projects/apikey", "revoke", key.id)
    office.post("/admin/accounts/organization/suspend/", {"id": cast.org.id, "reason": "unpaid"})
    _act(office, "identity/user", "end_sessions", cast.bob.id)
    entries = trail("key.revoked") + trail("org.suspended") + trail("user.session.invalid")
    assert [(entry.actor_kind, entry.actor_id) for entry in entries] == [("staff", staff.pk)] * 3
    assert published("key.revoked") == [{"key_id": str(key.id), "project_id": str(cast.project.id)}]
