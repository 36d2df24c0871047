"""The pages of keys and of a project's settings."""

import re
from datetime import timedelta
from typing import Any

from apps.core import clock
from apps.core.clock import now
from apps.projects import selectors, services
from apps.projects.selectors import forget_keys, key_authenticate, key_list
from tests.web.conftest import Cast, event


def only_key(cast: Cast) -> Any:
    return key_list(org_id=cast.org.id).get()


def make(cast: Cast, **fields: Any) -> Any:
    wanted = {"name": "nightly", "scopes": ["ingest"], **fields}
    return services.create_api_key(org_id=cast.org.id, project_id=cast.project.id, **wanted)[0]


# ---------------------------------------------------------------- making
def test_a_key_is_made_with_environment_addresses_and_without_a_person(cast: Cast) -> None:
    made = cast.owner.post(
        cast.url("projects/shuttle"),
        {
            "name": "nightly", "scopes": ["ingest"], "days": "30", "owner": "service", "environment": "staging",
            "allowed_ips": "192.0.2.0/24\n2001:db8::1",
        },
    )  # fmt: skip
    assert made.status_code == 200
    key = key_list(org_id=cast.org.id).get(name="nightly")
    assert (key.owner_id, key.environment) == (None, "staging")
    assert key.allowed_ips == ["192.0.2.0/24", "2001:db8::1/128"]
    body = made.content.decode()
    assert body.index("Keys of people") < body.index("Service accounts") < body.index("nightly", body.index("Service"))


def test_a_wrong_address_is_said_at_its_field(cast: Cast) -> None:
    form = {"name": "nightly", "scopes": ["ingest"], "allowed_ips": "192.0.2.0/24, nowhere"}
    answer = cast.owner.post(cast.url("projects/shuttle"), form)
    assert answer.status_code == 400
    assert "&#x27;nowhere&#x27; is not an address" in answer.content.decode()
    assert key_list(org_id=cast.org.id).count() == 1


def test_an_admins_key_wants_a_credential_shown_a_short_while_ago(cast: Cast) -> None:
    form = {"name": "robot", "scopes": ["admin"], "days": "30"}
    with clock.freeze(now() + timedelta(hours=2)):
        answer = cast.owner.post(cast.url("projects/shuttle"), form)
    assert answer.status_code == 302
    assert answer.headers["Location"].startswith("/account/confirm")
    assert key_list(org_id=cast.org.id).count() == 1
    assert cast.owner.post(cast.url("projects/shuttle"), form).status_code == 200
    assert key_list(org_id=cast.org.id).count() == 2


def test_lives_beyond_the_policy_are_not_offered(cast: Cast) -> None:
    services.update_key_policy(org_id=cast.org.id, changes={"max_life_days": 60})
    body = cast.owner.get(cast.url("projects/shuttle")).content.decode()
    assert "In 60 days" in body
    assert "Never" not in body
    answer = cast.owner.post(cast.url("projects/shuttle"), {"name": "x", "scopes": ["ingest"], "days": "365"})
    assert answer.status_code == 400


# ---------------------------------------------------------------- one key
def test_a_keys_page_says_what_it_is_and_what_it_did(cast: Cast, send: Any) -> None:
    key = only_key(cast)
    key_authenticate(cast.token, ip="192.0.2.44", user_agent="loom/2")
    send(event(), event())
    body = cast.owner.get(cast.url(f"projects/shuttle/keys/{key.pk}")).content.decode()
    assert "last 28 days" in body
    assert f"filter[key]={key.pk}" in body
    assert re.search(r'title="2"|>2<', body)
    assert "192.0.2.44" in body
    assert "everywhere" in body
    assert cast.stranger.get(cast.url(f"projects/shuttle/keys/{key.pk}")).status_code == 404


def test_a_key_is_changed_on_its_page_and_not_over_anothers_change(cast: Cast) -> None:
    key = only_key(cast)
    page = cast.url(f"projects/shuttle/keys/{key.pk}")
    version = re.search(r'name="version" value="([^"]+)"', cast.owner.get(page).content.decode())[1]
    form = {"version": version, "name": "desk", "owner": "", "environment": "production", "allowed_ips": "192.0.2.7"}
    assert cast.owner.post(page, form).status_code == 302
    changed = only_key(cast)
    assert (changed.name, changed.owner_id, changed.environment) == ("desk", None, "production")
    assert changed.allowed_ips == ["192.0.2.7/32"]
    late = cast.owner.post(page, {**form, "name": "late"})
    assert late.status_code == 400
    assert "It has changed since" in late.content.decode()
    assert only_key(cast).name == "desk"


def test_a_viewer_sees_a_key_and_changes_nothing(cast: Cast) -> None:
    key = only_key(cast)
    page = cast.url(f"projects/shuttle/keys/{key.pk}")
    assert 'name="name"' not in cast.viewer.get(page).content.decode()
    assert cast.viewer.post(page, {"name": "mine"}).status_code == 403
    assert only_key(cast).name == "laptop"


def test_a_key_is_replaced_with_the_overlap_that_was_chosen(cast: Cast) -> None:
    key = only_key(cast)
    path = cast.url(f"projects/shuttle/keys/{key.pk}/rotate")
    answer = cast.owner.post(path, {"once": "a", "overlap": "3600"})
    assert "Key replaced" in answer.content.decode()
    old = key_list(org_id=cast.org.id).get(pk=key.pk)
    assert timedelta(minutes=59) < old.expires_at - now() <= timedelta(hours=1)
    assert cast.owner.post(path, {"once": "a", "overlap": "3600"}).status_code == 302
    again = cast.owner.post(path, {"once": "b", "overlap": "12"}, follow=True)
    assert "replaced already" in again.content.decode()
    assert key_list(org_id=cast.org.id).count() == 2


# ---------------------------------------------------------------- all keys
def test_all_keys_are_listed_filtered_and_downloaded(cast: Cast) -> None:
    make(cast, name="ending", expires_at=now() + timedelta(days=5))
    revoked = make(cast, name="gone")
    services.revoke_api_key(org_id=cast.org.id, project_id=cast.project.id, key_id=revoked.id)
    page = cast.url("settings/keys")
    every = cast.owner.get(page).content.decode()
    assert all(name in every for name in ("laptop", "ending", "gone"))
    ending = cast.owner.get(f"{page}?show=ending").content.decode()
    assert ">ending<" in ending
    assert ">laptop<" not in ending
    assert "Every working key was used" in cast.owner.get(f"{page}?show=unused").content.decode()
    lines = cast.owner.get(f"{cast.url('settings/keys.csv')}?show=service").content.decode().splitlines()
    assert lines[0].startswith("name,prefix,project")
    assert [line.split(",")[0] for line in lines[1:]] == ["ending"], "without a person and working"
    with clock.freeze(now() + timedelta(days=120)):
        # Signed in that long is nobody: asked of what the page asks.
        from apps.projects.key_book import FILTERS, key_rows

        policy = selectors.key_policy_get(cast.org.id)
        assert [row.key.name for row in key_rows(cast.org.id) if FILTERS["unused"].holds(row, policy)] == ["laptop"]


def test_the_policy_is_set_by_admins_alone(cast: Cast) -> None:
    page = cast.url("settings/keys")
    form = {"max_life_days": "90", "leaked_keys": "flag"}
    assert cast.viewer.post(page, form).status_code == 403
    assert cast.owner.post(page, form).status_code == 302
    policy = selectors.key_policy_get(cast.org.id)
    assert (policy.max_life_days, policy.leaked_keys) == (90, "flag")
    beyond = cast.owner.get(f"{page}?show=beyond").content.decode()
    assert ">laptop<" in beyond


# ---------------------------------------------------------------- settings of a project
def settings_form(cast: Cast, **changes: str) -> dict[str, str]:
    body = cast.owner.get(cast.url("projects/shuttle/settings")).content.decode()
    version = re.search(r'name="version" value="([^"]+)"', body)[1]
    form = {
        "version": version, "environments": "production\nstaging", "allowed_models": "", "allowed_sources": "",
        "outside": "report", "metadata": "keep", "metadata_drop": "", "metadata_hash": "", "email_attribution": "on",
        "default_tags": "", "raw_retention_days": "",
    }  # fmt: skip
    return {**form, **changes}


def test_settings_are_changed_on_their_page(cast: Cast) -> None:
    page = cast.url("projects/shuttle/settings")
    form = settings_form(
        cast, allowed_models="claude-haiku-*\nclaude-opus-5", outside="refuse", default_tags="cost_center = 4,2 = x",
        raw_retention_days="3", metadata_hash="customer",
    )  # fmt: skip
    assert cast.owner.post(page, form).status_code == 302
    found = selectors.project_settings_get(org_id=cast.org.id, project_id=cast.project.id)
    assert found.allowed_models == ("claude-haiku-*", "claude-opus-5")
    assert (found.outside, found.raw_retention_days) == ("refuse", 3)
    assert found.default_tags == {"cost_center": "4,2 = x"}
    assert found.environments == ("production", "staging")
    forget_keys()
    rules = key_authenticate(cast.token).rules
    assert rules.refuses
    assert rules.hash_salt
    assert cast.owner.post(page, form).status_code == 400, "the page that was sent is an old one"
    shown = cast.viewer.get(page).content.decode()
    assert "claude-haiku-*, claude-opus-5" in shown
    assert "<textarea" not in shown
    assert cast.viewer.post(page, form).status_code == 403


def test_a_setting_that_is_wrong_is_said_at_its_field(cast: Cast) -> None:
    page = cast.url("projects/shuttle/settings")
    answer = cast.owner.post(page, settings_form(cast, default_tags="no sign"))
    assert "has no =" in answer.content.decode()
    answer = cast.owner.post(page, settings_form(cast, environments="Two Words"))
    assert answer.status_code == 400
    assert "Lower-case letters" in answer.content.decode()
    assert selectors.project_settings_get(org_id=cast.org.id, project_id=cast.project.id).version == 0


def test_a_project_is_renamed_archived_and_taken_out_again(cast: Cast) -> None:
    cast.owner.post(cast.url("projects/shuttle/edit"), {"name": "Spindle"})
    page = cast.url("projects/shuttle/settings")
    assert "Spindle" in cast.owner.get(page).content.decode()
    assert "is archived" in cast.owner.post(cast.url("projects/shuttle/archive"), follow=True).content.decode()
    forget_keys()
    assert key_authenticate(cast.token) is None
    assert "New key" not in cast.owner.get(cast.url("projects/shuttle")).content.decode()
    assert "is back" in cast.owner.post(cast.url("projects/shuttle/unarchive"), follow=True).content.decode()
    forget_keys()
    assert key_authenticate(cast.token) is not None


def test_a_projects_usage_has_a_page(cast: Cast, send: Any) -> None:
    page = cast.url("projects/shuttle/usage")
    assert "Nothing in the last 28 days" in cast.viewer.get(page).content.decode()
    send(event())
    body = cast.viewer.get(page).content.decode()
    assert "Open in Usage" in body
    assert cast.billing.get(page).status_code == 403
