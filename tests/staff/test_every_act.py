"""Whatever staff can do in the staff admin leaves an entry with them as who did it, and is refused without the right.

What there is to do is read from the site itself: an action, a page or a permission to write that is not listed here
fails. Nothing of a framework's own is among it: every model is read only but for what is below.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client, RequestFactory
from django.urls import reverse

from apps.accounts import impersonation
from apps.accounts import services as accounts
from apps.accounts.models import Impersonation, Membership
from apps.core import clock
from apps.core.tenancy import system_scope
from apps.events.models import DeadLetter, SubscriptionState
from apps.events.registry import subscriptions
from apps.identity.models import User
from apps.projects.models import ApiKey
from apps.scheduler import background
from apps.scheduler.clockwork import sync_jobs
from apps.usage.models import Price, SetAside
from mindweave.admin_site import StaffSite, staff_site
from tests.cast import Api, Cast, make_key, trail

REASON = {"reason": "Ticket 4711: they asked us to"}
PRICE = {
    "model": "claude-of-the-test", "valid_from_0": "2026-11-01", "valid_from_1": "00:00:00", "source": "a test",
    "input": "1", "output": "1", "cache_read": "1", "cache_write_5m": "1", "cache_write_1h": "1", "web_search": "1",
    "multipliers": "{}",
}  # fmt: skip


@dataclass(frozen=True)
class Act:
    """What is prepared (returns the row's key), how it is sent, and what the trail says then."""

    action: str
    prepare: Callable[[Cast], Any]
    # A page of the row, of several rows chosen before (``?id=…``), or none: an action of the list.
    page: str = ""
    several: str = ""
    form: dict[str, Any] = field(default_factory=dict)


def membership(cast: Cast) -> Any:
    return Membership.objects.get(org_id=cast.org.id, user_id=cast.bob.id).pk


def stay(cast: Cast) -> Any:
    moment = clock.now()
    return Impersonation.objects.create(
        org_id=cast.org.id, staff=User.objects.get(email="staff@mindweave.example"), user_id=cast.bob.id,
        reason=REASON["reason"], started_at=moment, ends_at=moment + timedelta(minutes=5),
    ).pk  # fmt: skip


def org(*before: Callable[[Cast], Any]) -> Callable[[Cast], Any]:
    def prepare(cast: Cast) -> Any:
        for each in before:
            each(cast)
        return cast.org.id

    return prepare


def suspended(cast: Cast) -> None:
    accounts.suspend_organization(org_id=cast.org.id, reason="unpaid")


def deleted(cast: Cast) -> None:
    accounts.delete_organization(org_id=cast.org.id)


def letter(cast: Cast) -> Any:
    name = next(iter(subscriptions()))
    return DeadLetter.objects.create(
        subscription=name, event_id=cast.org.id, type="org.updated", topic="audit.log", key="k", attempts=20,
        error="boom", envelope={},
    ).pk  # fmt: skip


def subscription(paused: bool) -> Callable[[Cast], Any]:
    def prepare(cast: Cast) -> Any:
        name = next(iter(subscriptions()))
        SubscriptionState.objects.update_or_create(pk=name, defaults={"is_paused": paused})
        return name

    return prepare


def job(enabled: bool) -> Callable[[Cast], Any]:
    def prepare(cast: Cast) -> Any:
        from apps.scheduler import services

        sync_jobs()
        if not enabled:
            services.disable_job(name="notify.prune")
        return "notify.prune"

    return prepare


def batch(cast: Cast) -> Any:
    moment = clock.now()
    return SetAside.objects.create(
        id=4711, slot=0, org_id=cast.org.id, received_at=moment, events=1, frames=b"", reason="boom",
        set_aside_at=moment,
    ).pk  # fmt: skip


def price(cast: Cast) -> Any:
    return Price.objects.filter(org=None, valid_to=None).order_by("pk").values_list("pk", flat=True)[0]


ACTS: dict[tuple[str, str], Act] = {
    ("identity.User", "end_sessions"): Act("user.session.invalid", lambda cast: cast.bob.id),
    ("identity.User", "remove_second_factor"): Act("user.mfa.disabled", lambda cast: cast.bob.id),
    ("identity.User", "erase"): Act("user.erased", lambda cast: cast.bob.id, page="erase", form=REASON),
    ("accounts.Organization", "suspend"): Act("org.suspended", org(), several="suspend", form=REASON),
    ("accounts.Organization", "resume"): Act("org.resumed", org(suspended), several="resume", form=REASON),
    ("accounts.Organization", "restore"): Act("org.restored", org(deleted), several="restore", form=REASON),
    ("accounts.Organization", "extend"): Act(
        "org.grace_extended", org(deleted), several="extend", form={**REASON, "days": 10}
    ),
    ("accounts.Membership", "enter"): Act(
        "impersonation.started", membership, page="enter", form={**REASON, "minutes": 5}
    ),
    ("accounts.Membership", "make_owner"): Act("org.ownership_transferred", membership, page="owner", form=REASON),
    ("accounts.Impersonation", "end_now"): Act("impersonation.ended", stay, page="end"),
    ("projects.ApiKey", "revoke"): Act("key.revoked", lambda cast: make_key(cast)[0].id),
    ("usage.Price", "add"): Act("price.set", lambda cast: None, page="add", form=PRICE),
    ("usage.Price", "end_now"): Act("price.ended", price),
    ("usage.SetAside", "try_again"): Act("usage.batch_put_back", batch),
    ("events.DeadLetter", "replay"): Act("bus.dead_letter_replayed", letter),
    ("events.DeadLetter", "discard"): Act("bus.dead_letter_discarded", letter),
    ("events.SubscriptionState", "pause"): Act("bus.subscription_paused", subscription(paused=False)),
    ("events.SubscriptionState", "resume"): Act("bus.subscription_resumed", subscription(paused=True)),
    ("scheduler.JobState", "run_now"): Act("job.run_requested", job(enabled=True)),
    ("scheduler.JobState", "disable"): Act("job.disabled", job(enabled=True)),
    ("scheduler.JobState", "enable"): Act("job.enabled", job(enabled=False)),
}
# Pages that Django and Unfold give every model: to look at, and writes that the permissions below refuse.
_PAGES = {"changelist", "add", "history", "delete", "change", "autocomplete"}


def offered() -> set[tuple[str, str]]:
    """Everything the site offers to staff who may do all that staff may."""
    request = RequestFactory().get("/admin/")
    request.user = User(email="s@mindweave.example", is_staff=True, is_superuser=True)
    found = set()
    for model, rules in staff_site._registry.items():
        label = model._meta.label
        lists = ("actions", "actions_detail", "actions_list", "actions_row", "actions_submit_line")
        names = {name for each in lists for name in (getattr(rules, each, None) or ())}
        names |= {verb for verb in ("add", "change", "delete") if getattr(rules, f"has_{verb}_permission")(request)}
        prefix = f"{model._meta.app_label}_{model._meta.model_name}_"
        pages = {str(url.name).removeprefix(prefix) for url in rules.get_urls() if getattr(url, "name", None)}
        found |= {(label, name) for name in names}
        # A page of its own is that of an action, by whose name or whose word in the address it goes.
        words = names | {act.page for (of, _), act in ACTS.items() if of == label}
        found |= {(label, name) for name in pages - _PAGES if not any(word and word in name for word in words)}
    return found


def test_all_that_staff_can_do_is_on_the_list(office: Client) -> None:
    assert offered() == set(ACTS)


@pytest.fixture(autouse=True)
def _no_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background.BackgroundTask, "apply_async", lambda self, **call: None)


def send(client: Client, name: tuple[str, str], act: Act, key: Any) -> Any:
    """Do it as a browser does; the last answer."""
    label, action = name
    base = f"admin:{label.lower().replace('.', '_')}"
    if act.page == "add":
        return client.post(reverse(f"{base}_add"), act.form)
    if act.page:
        return client.post(f"{reverse(f'{base}_changelist')}{key}/{act.page}/", act.form)
    if act.several:
        return client.post(f"{reverse(f'{base}_changelist')}{act.several}/", {**act.form, "id": [str(key)]})
    return client.post(reverse(f"{base}_changelist"), {"action": action, "_selected_action": [str(key)]})


@pytest.mark.parametrize("name", sorted(ACTS), ids=".".join)
def test_an_act_of_staff_is_theirs_in_the_trail_and_refused_without_the_right(
    name: tuple[str, str], cast: Cast, clerk: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    act = ACTS[name]
    with system_scope("the test prepares"):
        key = act.prepare(cast)
    before = {entry.pk for entry in trail(act.action)}
    unproved, member = Client(headers={"accept": "text/html"}), Api(cast.alice).client
    unproved.force_login(clerk)
    for refused in (unproved, member, Client()):
        assert send(refused, name, act, key).status_code in {302, 401, 403}
        assert {entry.pk for entry in trail(act.action)} == before, "it happened without the right"
    monkeypatch.setattr(StaffSite, "has_permission", lambda self, request: request.user.is_staff)
    monkeypatch.setattr(impersonation, "_is_staff", lambda user: user.is_staff)
    assert send(unproved, name, act, key).status_code == 302
    (entry,) = [each for each in trail(act.action) if each.pk not in before]
    assert (entry.actor_kind, entry.actor_id, entry.actor_label) == ("staff", clerk.pk, clerk.email)
    assert entry.ip == "127.0.0.1"


def test_nobody_writes_a_row_by_the_frameworks_own_pages(office: Client, cast: Cast) -> None:
    """What the permissions refuse stays refused on the pages, whatever a model's own rules say."""
    key = make_key(cast)[0]
    for path, form in ((f"{key.id}/change/", {"name": "theirs"}), (f"{key.id}/delete/", {"post": "yes"}), ("add/", {})):
        assert office.post(f"/admin/projects/apikey/{path}", form).status_code == 403
    with system_scope("the test looks at all"):
        assert ApiKey.objects.get(pk=key.id).name == "laptop"
