"""Changing keys, where they may be used from, how long they may live, and what becomes of those that leak."""

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.core import clock
from apps.core.clock import now
from apps.core.errors import PermissionDenied
from apps.core.ratelimit import Limit
from apps.core.tenancy import org_scope, system_scope
from apps.notify.models import EmailMessage
from apps.projects import selectors, services
from apps.projects.jobs import expiring_keys
from apps.projects.models import ApiKey
from apps.projects.networks import canonical_network, is_within
from apps.projects.selectors import forget_keys, key_authenticate, key_get
from apps.projects.settings_api import LeakedKeys
from apps.projects.tokens import new_key
from tests.cast import Api, make_key, published, trail


def path(cast, key) -> str:
    return f"/projects/{cast.project.id}/keys/{key.id}"


def info(cast, key) -> Any:
    return key_get(org_id=cast.org.id, project_id=cast.project.id, key_id=key.id)


def mails(template: str) -> dict[str, EmailMessage]:
    with system_scope("the test looks at all"):
        return {mail.to: mail for mail in EmailMessage.objects.filter(template=template)}


# ---------------------------------------------------------------- changing
def test_a_key_is_read_and_changed(cast) -> None:
    key, token = make_key(cast, owner_id=cast.bob.id)
    api = Api(cast.erin)
    seen = api.get(path(cast, key))
    assert (seen.json()["state"], seen.json()["is_service_account"]) == ("works", False)
    body = {
        "name": " nightly ", "owner_id": None, "environment": "staging", "allowed_ips": ["192.0.2.7", "2001:db8::/32"],
        "rate_limit_per_minute": 7, "expires_at": "2099-01-01T00:00:00Z",
    }  # fmt: skip
    answer = api.patch(path(cast, key), body, If_Match=seen.headers["ETag"])
    assert answer.status_code == 200
    changed = answer.json()
    assert {name: changed[name] for name in body} == {
        **body, "name": "nightly", "allowed_ips": ["192.0.2.7/32", "2001:db8::/32"],
    }  # fmt: skip
    assert changed["is_service_account"]
    [entry] = trail("key.updated")
    assert entry.changes["owner_id"] == [str(cast.bob.id), None]
    [told] = published("key.updated")
    assert told["changed"] == sorted(body)
    forget_keys()
    assert key_authenticate(token, ip="192.0.2.7").rate_limit_per_minute == 7
    assert api.patch(path(cast, key), {"name": "x"}, If_Match=seen.headers["ETag"]).status_code == 412
    assert api.patch(path(cast, key), {"name": "nightly"}).status_code == 200
    assert len(trail("key.updated")) == 1


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"name": " "}, "/name"),
        ({"owner_id": "01a209e4-215f-7371-be17-514d2bfae41c"}, "/owner_id"),
        ({"environment": "moon"}, "/environment"),
        ({"allowed_ips": ["192.0.2.0/24", "nowhere"]}, "/allowed_ips/1"),
        ({"allowed_ips": ["192.0.2.7/24"]}, "/allowed_ips/0"),
        ({"allowed_ips": ["192.0.2.7"] * 51}, "/allowed_ips"),
        ({"expires_at": "2020-01-01T00:00:00Z"}, "/expires_at"),
        ({"expires_at": None}, "/expires_at"),
        ({"expires_at": "2099-01-01T00:00:00Z"}, "/expires_at"),
        ({"scopes": ["admin"]}, "/scopes"),
    ],
)
def test_a_change_that_is_not_valid_changes_nothing(cast, body, pointer) -> None:
    key, _ = make_key(cast, expires_at=now() + timedelta(days=9))
    before = info(cast, key)
    answer = Api(cast.alice).patch(path(cast, key), body)
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (400, pointer)
    assert info(cast, key) == before


def test_a_revoked_key_stays_as_it_was(cast) -> None:
    key, _ = make_key(cast)
    services.revoke_api_key(org_id=cast.org.id, project_id=cast.project.id, key_id=key.id)
    answer = Api(cast.alice).patch(path(cast, key), {"name": "x"})
    assert (answer.status_code, answer.json()["code"]) == (409, "key_revoked")


def test_a_developer_makes_keys_of_their_own_and_of_nobody_and_lifts_no_limit(cast) -> None:
    api, keys = Api(cast.bob), f"/projects/{cast.project.id}/keys"
    body = {"name": "k", "scopes": ["ingest"]}
    assert api.post(keys, {**body, "owner_id": str(cast.bob.id)}).status_code == 201
    assert api.post(keys, {**body, "owner_id": None}).status_code == 201
    answer = api.post(keys, {**body, "owner_id": str(cast.dora.id)})
    assert (answer.status_code, answer.json()["code"]) == (403, "not_your_key")
    key, _ = make_key(cast, owner_id=cast.alice.id)
    assert api.patch(path(cast, key), {"owner_id": str(cast.dora.id)}).json()["code"] == "not_your_key"
    assert api.patch(path(cast, key), {"rate_limit_per_minute": 0}).json()["code"] == "scope_ceiling"
    assert info(cast, key).owner_id == cast.alice.id


def test_a_key_of_another_project_is_not_found(cast) -> None:
    key, _ = make_key(cast)
    other = services.create_project(org_id=cast.org.id, name="Other")
    for person, project in ((cast.alice, other), (cast.charlie, cast.their_project)):
        where = f"/projects/{project.id}/keys/{key.id}"
        assert Api(person).get(where).status_code == 404
        assert Api(person).patch(where, {"name": "mine"}).status_code == 404
    assert info(cast, key).name == "laptop"


def test_a_key_is_replaced_once_with_all_that_it_had(cast) -> None:
    key, _ = make_key(cast, environment="staging", allowed_ips=["192.0.2.0/24"], expires_at=now() + timedelta(days=90))
    fresh, _ = services.rotate_api_key(org_id=cast.org.id, project_id=cast.project.id, key_id=key.id)
    assert (fresh.environment, fresh.allowed_ips) == ("staging", ("192.0.2.0/24",))
    assert timedelta(days=89) < fresh.expires_at - now() <= timedelta(days=90), "it lives as long as the old one"
    assert info(cast, key).replaced_by_id == fresh.id
    answer = Api(cast.alice).post(f"{path(cast, key)}/rotate", {})
    assert (answer.status_code, answer.json()["code"]) == (409, "key_replaced")


def test_a_key_that_acts_for_others_wants_a_fresh_credential(cast) -> None:
    keys, body = f"/projects/{cast.project.id}/keys", {"name": "robot", "scopes": ["admin"]}
    api = Api(cast.erin)
    key, _ = make_key(cast, scopes=("admin",))
    with clock.freeze(now() + timedelta(hours=2)):
        for answer in (api.post(keys, body), api.post(f"{path(cast, key)}/rotate", {})):
            assert (answer.status_code, answer.json()["code"]) == (401, "step_up_required")
        assert api.post(keys, {**body, "scopes": ["read"]}).status_code == 201
    assert set(selectors.key_names(cast.org.id).values()) == {"laptop", "robot"}
    assert info(cast, key).replaced_by_id is None
    assert api.post(keys, body).status_code == 201


# ---------------------------------------------------------------- from where
def test_a_key_is_refused_from_elsewhere_than_it_may_be_used(cast) -> None:
    key, token = make_key(cast, allowed_ips=["192.0.2.0/24", "2001:db8::/64"])
    for ip in ("192.0.2.1", "2001:db8::1", "::ffff:192.0.2.9"):
        assert key_authenticate(token, ip=ip).key_id == key.id
    for ip in ("198.51.100.1", "2001:db8:1::1", None):
        with pytest.raises(PermissionDenied) as refused:
            key_authenticate(token, ip=ip)
        assert refused.value.code == "ip_not_allowed"
    assert selectors.key_rejections(cast.org.id) == {key.id: ("address", 1)}
    [refused] = Api(cast.alice).get(f"/projects/{cast.project.id}/keys").json()["data"]
    assert refused["state"] == "works"


def test_an_address_is_told_by_the_trusted_front_alone(cast, settings) -> None:
    settings.TRUSTED_PROXY_HOPS = 0
    _, token = make_key(cast, allowed_ips=["203.0.113.5"])
    forged = Api(token=token, ip="192.0.2.10").get(f"/projects/{cast.project.id}", X_Forwarded_For="203.0.113.5")
    assert (forged.status_code, forged.json()["code"]) == (403, "ip_not_allowed")
    settings.TRUSTED_PROXY_HOPS = 1
    told = Api(token=token, ip="127.0.0.1").get(
        f"/projects/{cast.project.id}", X_Forwarded_For="203.0.113.99, 203.0.113.5"
    )
    assert told.status_code == 200


def test_a_refused_address_is_no_use_and_the_last_use_says_from_where(cast) -> None:
    key, token = make_key(cast, allowed_ips=["192.0.2.0/24"])
    assert Api(token=token, ip="198.51.100.1").get(f"/projects/{cast.project.id}").status_code == 403
    assert info(cast, key).last_used_at is None
    api = Api(token=token, ip="192.0.2.10")
    assert api.get(f"/projects/{cast.project.id}", User_Agent="loom/1.0").status_code == 200
    used = info(cast, key)
    assert (used.last_used_ip, used.last_used_agent) == ("192.0.2.10", "loom/1.0")


@given(st.ip_addresses(), st.integers(0, 128))
def test_a_network_holds_its_own_addresses_and_has_one_spelling(address, length) -> None:
    from ipaddress import ip_network

    network = ip_network(f"{address}/{min(length, address.max_prefixlen)}", strict=False)
    spelled = canonical_network(str(network))
    assert canonical_network(spelled) == spelled
    assert is_within(str(address), (spelled,)) or getattr(address, "ipv4_mapped", None)


@pytest.mark.parametrize("text", ["", "x", "192.0.2.1/33", "192.0.2.1/24", "fe80::1%eth0", "1.2.3", "0.0.0.0/-1"])
def test_what_is_no_network_is_refused_with_a_sentence(text) -> None:
    with pytest.raises(ValueError, match=r"\w+ \w+"):
        canonical_network(text)


# ---------------------------------------------------------------- how long
def test_the_policy_bounds_how_long_new_keys_live(cast) -> None:
    old, _ = make_key(cast)
    api, policy = Api(cast.alice), f"/orgs/{cast.org.id}/key-policy"
    answer = api.patch(policy, {"max_life_days": 30}, If_Match=api.get(policy).headers["ETag"])
    assert answer.json() == {"max_life_days": 30, "leaked_keys": "revoke"}
    assert trail("key.policy_changed")[0].changes == {"max_life_days": [None, 30]}
    keys, body = f"/projects/{cast.project.id}/keys", {"name": "k", "scopes": ["ingest"]}
    late = api.post(keys, {**body, "expires_at": (now() + timedelta(days=31)).isoformat()})
    assert (late.status_code, late.json()["errors"][0]["pointer"]) == (400, "/expires_at")
    made, _ = make_key(cast)
    assert timedelta(days=29) < made.expires_at - now() <= timedelta(days=30), "as late as it may"
    fresh, _ = services.rotate_api_key(org_id=cast.org.id, project_id=cast.project.id, key_id=old.id)
    assert fresh.expires_at is not None
    assert api.patch(policy, {"max_life_days": None}).json()["max_life_days"] is None
    assert make_key(cast)[0].expires_at is None


@pytest.mark.parametrize("body", [{"max_life_days": 0}, {"max_life_days": 5000}, {"leaked_keys": "frame"}, {"x": 1}])
def test_a_policy_that_is_not_valid_is_not_kept(cast, body) -> None:
    assert Api(cast.alice).patch(f"/orgs/{cast.org.id}/key-policy", body).status_code == 400
    assert selectors.key_policy_get(cast.org.id).version == 0


# ---------------------------------------------------------------- reminders
def test_a_key_is_told_of_14_3_and_1_days_before_it_ends(cast) -> None:
    key, _ = make_key(cast, name="nightly", owner_id=cast.bob.id, expires_at=now() + timedelta(days=60))
    for days, told in ((15, 0), (14, 1), (13, 0), (3, 1), (2, 0), (1, 1), (0.5, 0)):
        with clock.freeze(key.expires_at - timedelta(days=days)):
            assert (expiring_keys(), expiring_keys()) == (told, 0), days
    assert [data["key_id"] for data in published("key.expiring")] == [str(key.id)] * 3
    sent = mails("keys_ending")
    assert set(sent) == {"alice@example.com", "erin@example.com", "bob@example.com"}, "the admins and the owner"
    assert "nightly" in sent["bob@example.com"].subject


def test_keys_that_live_less_or_were_replaced_are_not_told_of(cast) -> None:
    make_key(cast, expires_at=now() + timedelta(hours=20))
    replaced, _ = make_key(cast, expires_at=now() + timedelta(days=60))
    services.rotate_api_key(org_id=cast.org.id, project_id=cast.project.id, key_id=replaced.id)
    revoked, _ = make_key(cast, expires_at=now() + timedelta(days=60))
    services.revoke_api_key(org_id=cast.org.id, project_id=cast.project.id, key_id=revoked.id)
    with org_scope(cast.org.id):
        ApiKey.objects.filter(replaced_by_id=None).exclude(pk=revoked.id).exclude(expires_at=None).filter(
            expires_at__gt=now() + timedelta(days=40)
        ).update(expires_at=None)
    with clock.freeze(now() + timedelta(hours=1)):
        assert expiring_keys() == 0
    assert mails("keys_ending") == {}


def test_a_mail_names_all_keys_of_an_hour(cast) -> None:
    for name in ("one", "two"):
        make_key(cast, name=name, expires_at=now() + timedelta(days=60))
    with clock.freeze(now() + timedelta(days=58)):
        assert expiring_keys() == 2
    sent = mails("keys_ending")
    assert set(sent) == {"alice@example.com", "erin@example.com"}
    assert "2 keys" in sent["alice@example.com"].subject


# ---------------------------------------------------------------- leaks
def report(*found: Any) -> Any:
    return Api().post("/v1/keys/leaked", list(found))


def test_a_reported_key_is_revoked_and_told_of_once(cast) -> None:
    key, token = make_key(cast, owner_id=cast.bob.id)
    finding = {"token": token, "type": "mindweave_api_key", "url": "https://git.example/x", "source": "content"}
    for _ in range(2):
        answer = report(finding)
        assert (answer.status_code, answer.json()) == (202, {"received": 1})
    forget_keys()
    assert key_authenticate(token) is None
    assert info(cast, key).leaked_at is not None
    [entry] = trail("key.leaked")
    assert (entry.org_id, entry.changes["found_at"]) == (cast.org.id, [None, "https://git.example/x"])
    assert published("key.leaked")[0]["revoked"] is True
    assert published("key.revoked") == [{"key_id": str(key.id), "project_id": str(cast.project.id)}]
    assert set(mails("key_leaked")) == {"alice@example.com", "erin@example.com", "bob@example.com"}


def test_a_policy_may_have_reported_keys_only_flagged(cast) -> None:
    services.update_key_policy(org_id=cast.org.id, changes={"leaked_keys": "flag"})
    key, token = make_key(cast)
    report({"token": token})
    forget_keys()
    assert key_authenticate(token) is not None
    assert info(cast, key).leaked_at is not None
    assert published("key.leaked")[0]["revoked"] is False


def test_the_answer_to_a_report_tells_nothing(cast) -> None:
    _, token = make_key(cast)
    answers = {report({"token": each}).content for each in (token, new_key(), "mw_short", token[:-1] + "x")}
    assert len(answers) == 1
    assert len(published("key.leaked")) == 1


@pytest.mark.parametrize("body", [{}, [{}], [{"token": ""}], [{"token": "x"}] * 101, "x"])
def test_a_report_that_is_none_is_refused(cast, body) -> None:
    assert Api().post("/v1/keys/leaked", body).status_code == 400


def test_reports_are_limited_by_address(cast, monkeypatch) -> None:
    monkeypatch.setattr(LeakedKeys, "limit", Limit("leaked-keys", 2, 3600))
    assert [report({"token": new_key()}).status_code for _ in range(3)] == [202, 202, 429]
    assert Api(ip="192.0.2.99").post("/v1/keys/leaked", [{"token": new_key()}]).status_code == 202
