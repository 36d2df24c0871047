"""Enforced single sign-on: who must sign in by the provider, and who may do without."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from allauth.mfa.models import Authenticator

from apps.accounts import services as accounts
from apps.core.clock import now
from apps.core.errors import Conflict, MindWeaveError
from apps.core.ids import uuid7
from apps.core.tenancy import system_scope
from apps.events.contracts import Envelope
from apps.identity import services as identity
from apps.identity.models import Challenge, User
from apps.sso import services
from apps.sso.contracts import Arrival
from apps.sso.models import Connection, ToldSignIn
from apps.sso.policy import SsoLoginPolicy
from apps.sso.selectors import connection_find
from tests.cast import PASSWORD, Api, Cast, published, trail
from tests.sso.nameserver import NameServer
from tests.teams.mail import mails_to

pytestmark = pytest.mark.django_db


def give_factor(user_id: Any) -> None:
    from allauth.mfa.totp.internal.auth import TOTP, generate_totp_secret

    TOTP.activate(User.objects.get(pk=user_id), generate_totp_secret())


@pytest.fixture
def ready(cast: Cast, saml: Connection) -> Connection:
    """All that enforcing wants: a test that went through, a proved domain, a break-glass owner with a factor."""
    services.keep_test(connection=saml, arrival=Arrival("00u1", "ada@example.com"))
    give_factor(cast.alice.id)
    services.add_break_glass(org_id=cast.org.id, user_id=cast.alice.id)
    return saml


@pytest.fixture
def enforced(cast: Cast, ready: Connection) -> Connection:
    services.enforce_connection(org_id=cast.org.id, connection_id=ready.pk)
    return ready


@pytest.mark.parametrize("method", ["password", "passkey", "oauth"])
def test_people_of_the_domain_sign_in_by_the_provider_alone(method: Any, enforced: Connection, cast: Cast) -> None:
    policy = SsoLoginPolicy()
    refusal = policy.refusal("bob@example.com", method)
    assert refusal is not None
    assert refusal.code == "sso_required"
    assert refusal.extra["sso_url"].endswith(f"/sso/{enforced.pk}/start")
    # Whoever the address belongs to, a member or nobody yet.
    assert policy.refusal("nobody@example.com", method) is not None
    assert policy.refusal("eve@freelance.example", method) is None


def test_a_right_password_is_refused(enforced: Connection) -> None:
    with pytest.raises(MindWeaveError) as refused:
        identity.login(email="bob@example.com", password=PASSWORD)
    assert refused.value.code == "sso_required"
    answer = Api().post("/auth/login", {"email": "bob@example.com", "password": PASSWORD})
    assert answer.status_code == 403
    assert answer.json()["code"] == "sso_required"
    assert trail("user.login") == []


def test_what_people_signed_in_by_before_ends(ready: Connection, cast: Cast) -> None:
    pair = identity.login(email="bob@example.com", password=PASSWORD)
    web = Api(cast.bob)
    outside = identity.register(email="eve@freelance.example", password=PASSWORD, email_verified=True)
    accounts.add_member(org_id=cast.org.id, user_id=outside.id, role="viewer")
    theirs = identity.login(email="eve@freelance.example", password=PASSWORD)
    services.enforce_connection(org_id=cast.org.id, connection_id=ready.pk)
    assert Api(token=pair.access_token).get("/auth/me").status_code == 401
    assert Api().post("/auth/refresh", {"refresh_token": pair.refresh_token}).status_code == 401
    assert web.get("/auth/me").status_code == 401
    assert Api(token=theirs.access_token).get("/auth/me").status_code == 200
    assert published("sso.enforced")[-1]["connection_id"] == str(ready.pk)


def test_what_the_provider_opened_goes_on(ready: Connection, cast: Cast) -> None:
    by_provider = identity.start_sign_in(User.objects.get(pk=cast.bob.id), method="saml", ip=None, user_agent="")
    services.enforce_connection(org_id=cast.org.id, connection_id=ready.pk)
    assert Api(token=by_provider.access_token).get("/auth/me").status_code == 200


def test_nobody_registers_an_address_of_the_domain_with_a_password(enforced: Connection) -> None:
    body = {"email": "new@example.com", "password": PASSWORD, "name": "New"}
    assert Api().post("/auth/register", body).status_code == 403
    assert not User.objects.filter(email="new@example.com").exists()


def test_a_break_glass_owner_comes_in_by_password_and_a_second_factor_and_it_is_told(
    enforced: Connection, cast: Cast
) -> None:
    with pytest.raises(identity.MfaRequired):
        identity.login(email="alice@example.com", password=PASSWORD)
    assert services.note_sign_in(user_id=cast.alice.id, method="password+mfa", event_id=uuid7()) == 1
    assert published("sso.break_glass_used") == [{"user_id": str(cast.alice.id), "method": "password+mfa"}]
    assert trail("sso.break_glass_used")[-1].org_id == cast.org.id
    assert services.note_sign_in(user_id=cast.alice.id, method="saml", event_id=uuid7()) == 0
    assert services.note_sign_in(user_id=cast.bob.id, method="password", event_id=uuid7()) == 0


def test_the_alarm_hears_each_sign_in_once_however_often_it_is_delivered(enforced: Connection, cast: Cast) -> None:
    from apps.events.registry import subscriptions

    subscription = next(one for one in subscriptions().values() if one.name == "sso.watch_break_glass")
    assert subscription.hears("user.login")
    data = {"user_id": str(cast.alice.id), "method": "password+mfa"}
    first, second = (
        Envelope(uuid7(), "user.login", "identity", now(), "1.0", "", data, topic="audit.log", key="") for _ in "ab"
    )
    for envelope in (first, first, second, first):
        subscription.handler(envelope)
    assert len(published("sso.break_glass_used")) == len(trail("sso.break_glass_used")) == 2
    with system_scope("the job"):
        ToldSignIn.objects.update(at=now() - timedelta(days=46))
        assert services.forget_told_sign_ins() == 2


def test_a_forgotten_password_is_answered_alike_and_the_letter_says_where_to_sign_in(
    enforced: Connection, cast: Cast
) -> None:
    begun = Challenge.objects.count()
    assert identity.send_reset(email="bob@example.com")
    assert identity.send_reset(email="alice@example.com")  # who may break glass has a use for a password
    assert not identity.send_reset(email="nobody@example.com")
    letter = mails_to("bob@example.com")[-1]
    assert letter.template == "reset_by_sso"
    assert f"/sso/{enforced.pk}/start" in letter.text
    assert "/reset/" not in letter.text
    assert mails_to("alice@example.com")[-1].template == "reset_password"
    assert mails_to("nobody@example.com") == []
    assert Challenge.objects.count() == begun + 1
    answers = [Api().post("/auth/forgot", {"email": f"{name}@example.com"}) for name in ("bob", "nobody")]
    assert len({(one.status_code, one.content) for one in answers}) == 1


def test_a_link_mailed_before_enforcement_sets_no_password_after_it(ready: Connection, cast: Cast) -> None:
    identity.send_reset(email="bob@example.com")
    token = mails_to("bob@example.com")[-1].text.split("/reset/")[1].split()[0]
    services.enforce_connection(org_id=cast.org.id, connection_id=ready.pk)
    answer = Api().post("/auth/reset", {"token": token, "password": "twelve looms by the river"})
    assert (answer.status_code, answer.json()["code"]) == (403, "sso_required")
    assert User.objects.get(pk=cast.bob.id).check_password(PASSWORD)
    assert trail("user.password.reset") == []


def test_a_break_glass_owner_without_a_factor_is_held_too(enforced: Connection, cast: Cast) -> None:
    Authenticator.objects.filter(user_id=cast.alice.id).delete()
    assert SsoLoginPolicy().refusal("alice@example.com", "password") is not None


def test_who_is_owner_no_more_is_held_too(enforced: Connection, cast: Cast) -> None:
    accounts.change_member_role(org_id=cast.org.id, user_id=cast.erin.id, role="owner")
    accounts.change_member_role(org_id=cast.org.id, user_id=cast.alice.id, role="viewer")
    assert SsoLoginPolicy().refusal("alice@example.com", "password") is not None


def test_only_owners_with_a_factor_are_break_glass(cast: Cast, saml: Connection) -> None:
    for person, code in ((cast.erin, "not_an_owner"), (cast.alice, "second_factor_missing")):
        with pytest.raises(Conflict) as refused:
            services.add_break_glass(org_id=cast.org.id, user_id=person.id)
        assert refused.value.code == code
    assert trail("sso.break_glass_added") == []


def test_the_last_break_glass_owner_stays_while_it_is_enforced(enforced: Connection, cast: Cast) -> None:
    with pytest.raises(Conflict) as refused:
        services.remove_break_glass(org_id=cast.org.id, user_id=cast.alice.id)
    assert refused.value.code == "last_break_glass"
    services.relax_connection(org_id=cast.org.id, connection_id=enforced.pk)
    services.remove_break_glass(org_id=cast.org.id, user_id=cast.alice.id)


def test_enforcing_wants_everything_in_place(cast: Cast, saml: Connection, nameserver: NameServer) -> None:
    def refused() -> str:
        with pytest.raises(Conflict) as error:
            services.enforce_connection(org_id=cast.org.id, connection_id=saml.pk)
        return error.value.code

    assert refused() == "connection_untested"
    services.keep_test(connection=saml, arrival=Arrival("00u1", "ada@example.com"))
    assert refused() == "no_break_glass_owner"
    services.disable_connection(org_id=cast.org.id, connection_id=saml.pk)
    assert refused() == "connection_disabled"
    assert SsoLoginPolicy().refusal("bob@example.com", "password") is None
    assert trail("sso.enforced") == []


def test_a_connection_that_leads_elsewhere_is_no_longer_enforced(enforced: Connection, cast: Cast) -> None:
    changes = {"idp_sso_url": "https://other.example.com/sso"}
    services.update_connection(org_id=cast.org.id, connection_id=enforced.pk, changes=changes)
    found = connection_find(enforced.pk)
    assert found is not None
    assert not found.is_enforced
    assert found.tested_at is None
    assert SsoLoginPolicy().refusal("bob@example.com", "password") is None


def test_an_enforced_connection_can_neither_be_switched_off_nor_deleted(enforced: Connection, cast: Cast) -> None:
    for service in (services.disable_connection, services.delete_connection):
        with pytest.raises(Conflict):
            service(org_id=cast.org.id, connection_id=enforced.pk)  # type: ignore[operator]
    assert connection_find(enforced.pk) is not None


def test_with_the_last_domain_enforcement_ends(enforced: Connection, cast: Cast) -> None:
    from apps.sso.selectors import domain_list

    services.remove_domain(org_id=cast.org.id, domain_id=domain_list(cast.org.id).get().pk)
    found = connection_find(enforced.pk)
    assert found is not None
    assert not found.is_enforced
    assert len(published("sso.relaxed")) == 1


def test_a_domain_proved_later_ends_its_peoples_sign_ins(
    enforced: Connection, cast: Cast, prove: Callable[..., Any]
) -> None:
    late = identity.register(email="late@looms.example", password=PASSWORD, email_verified=True)
    accounts.add_member(org_id=cast.org.id, user_id=late.id, role="viewer")
    pair = identity.login(email="late@looms.example", password=PASSWORD)
    prove(cast.org.id, "looms.example")
    assert Api(token=pair.access_token).get("/auth/me").status_code == 401


def test_a_suspended_organisation_holds_nobody(enforced: Connection, cast: Cast) -> None:
    accounts.suspend_organization(org_id=cast.org.id, reason="unpaid")
    assert SsoLoginPolicy().refusal("bob@example.com", "password") is None
