"""The laws of the house that a linter does not know, read out of the source."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = sorted(
    path
    for folder in ("apps", "mindweave")
    for path in (ROOT / folder).rglob("*.py")
    if "migrations" not in path.parts and "dev" not in path.parts
)

# Who may look across organisations; a new place here is a decision, not an accident.
CROSSING = {
    "apps/accounts/selectors.py",  # a person's own memberships; which organisation a page is about
    "apps/accounts/org_exports.py",  # an export's id says which organisation it is of
    "apps/accounts/slugs.py",  # a short name is one organisation's of all
    "apps/accounts/factors.py",  # a person's factors protect every organisation of theirs
    "apps/accounts/impersonation.py",  # staff in a member's place
    "apps/audit/export_services.py",  # an export's id says which organisation it is of
    "apps/audit/retention.py",  # each organisation's own retention, by the clock
    "apps/audit/system_stream.py",  # the receiver of whoever runs the installation
    "apps/audit/streams.py",  # every organisation's streams are served
    "apps/audit/refusals.py",  # the same, of what was refused
    "apps/audit/services.py",  # an entry says itself whose it is
    "apps/core/management/commands/rotate_peppers.py",  # peppers are of the whole installation
    "apps/core/middleware.py",  # the staff admin
    "apps/events/chores.py",  # the trail's sealer
    "apps/events/delivery.py",  # an event of no organisation
    "apps/events/queues.py",  # dead letters of any organisation
    "apps/events/services.py",  # staff replay and discard
    "apps/events/transports/postgres.py",  # which events of all a subscription wants
    "apps/identity/services/privacy.py",  # what is kept of a person, wherever it stands
    "apps/notify/notifications.py",  # retention
    "apps/notify/services.py",  # the worker that delivers mail
    "apps/notify/views.py",  # the development mailbox
    "apps/projects/reminders.py",  # the clock looks at every organisation's keys
    "apps/projects/rules.py",  # the drain asks how long several organisations keep
    "apps/projects/selectors.py",  # a key or a path says which organisation it is of
    "apps/scheduler/background.py",  # tasks of no organisation
    "apps/scheduler/services.py",  # scheduled jobs
    "apps/sso/selectors.py",  # an address or a path of signing in names no organisation
    "apps/sso/services/enforcement.py",  # a person signs in without naming one
    "apps/sso/services/tokens.py",  # a token of provisioning says which organisation it is of
    "apps/teams/invitation_selectors.py",  # a mail's token says which invitation it is of
    "apps/teams/selectors.py",  # a path says which organisation it is of
    "apps/usage/ingest/attribution.py",  # what every process has heard of is forgotten
    "apps/usage/drain/dims.py",  # the drain
    "apps/usage/drain/retention.py",  # partitions are of all organisations
    "apps/usage/management/commands/_arguments.py",  # a command names its organisation
    "apps/usage/repricing.py",  # a list price is of all organisations
    "apps/usage/management/commands/drain.py",
}
# What may speak HTTP by itself: the checked client, and `up`, which asks its own address whether it is ready.
HTTP = {"apps/core/http.py", "apps/core/management/commands/up.py"}


def parsed() -> Iterator[tuple[str, ast.AST]]:
    for path in SOURCES:
        yield str(path.relative_to(ROOT)), ast.parse(path.read_text())


def calls(tree: ast.AST, name: str) -> list[int]:
    """Lines that call a function or a method of this name."""
    return [
        node.lineno
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and (
            (isinstance(node.func, ast.Attribute) and node.func.attr == name)
            or (isinstance(node.func, ast.Name) and node.func.id == name)
        )
    ]


def imported(tree: ast.AST) -> set[str]:
    """Modules that a file imports, wherever in it."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
    return found


def test_no_app_reaches_another_models_through_the_registry() -> None:
    assert [(path, line) for path, tree in parsed() for line in calls(tree, "get_model")] == []


def test_apps_do_not_listen_to_signals_of_models() -> None:
    found = [path for path, tree in parsed() if imported(tree) & {"django.db.models.signals", "django.dispatch"}]
    assert found == []


def test_only_the_checked_client_speaks_http() -> None:
    clients = {"httpx", "requests", "urllib.request", "http.client", "aiohttp", "urllib3"}
    assert {path for path, tree in parsed() if imported(tree) & clients} <= HTTP


def test_who_looks_across_organisations_is_on_the_list() -> None:
    found = {path for path, tree in parsed() if calls(tree, "system_scope") and path != "apps/core/tenancy.py"}
    assert found <= CROSSING
    assert CROSSING - found == set(), "these no longer do: take them off the list"


def test_every_crossing_gives_its_reason() -> None:
    for path, tree in parsed():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "system_scope":
                assert node.args, f"{path}:{node.lineno} gives no reason"


def test_the_user_model_is_never_named_by_its_default() -> None:
    for path, tree in parsed():
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and node.module == "django.contrib.auth.models":
                assert "User" not in {alias.name for alias in node.names}, path


def test_tasks_are_scheduled_on_commit() -> None:
    found = [
        f"{path}:{line}"
        for path, tree in parsed()
        for name in ("delay", "apply_async", "send_task")
        for line in calls(tree, name)
        if path not in {"apps/scheduler/background.py", "apps/scheduler/clockwork.py"}
    ]
    assert found == []


@pytest.mark.parametrize("mark", ["TODO", "FIXME", "NotImplementedError"])
def test_nothing_is_left_for_later(mark: str) -> None:
    assert [str(path.relative_to(ROOT)) for path in SOURCES if mark in path.read_text()] == []


def test_org_owned_models_have_the_scoped_manager_and_no_other() -> None:
    from django.apps import apps

    from apps.core.tenancy import OrgScopedManager, OrgScopedModel

    owned = [model for model in apps.get_models() if issubclass(model, OrgScopedModel)]
    assert len(owned) >= 8
    for model in owned:
        assert [isinstance(manager, OrgScopedManager) for manager in model._meta.managers] == [True], model
        assert isinstance(model._base_manager, OrgScopedManager), model


def test_models_with_an_organisation_are_scoped() -> None:
    """A table of ours with an ``org_id`` that is not scoped is a hole, unless it is named here with its reason."""
    from django.apps import apps

    from apps.core.tenancy import OrgScopedModel

    unscoped = {
        model._meta.label
        for model in apps.get_models()
        if model.__module__.startswith("apps.")
        and any(field.attname == "org_id" for field in model._meta.concrete_fields)
        and not issubclass(model, OrgScopedModel)
    }
    assert unscoped <= {
        "usage.Reprice",  # one of a list price is of all organisations; the API asks by organisation
        "usage.Price",  # the list prices belong to nobody; selectors take the organisation
        "usage.InboxBatch",  # the drain's own queue
        "events.OutboxEvent",  # the bus carries what belongs to nobody too
        "events.Event",
        "audit.AuditEntry",
        "scheduler.JobRun",
    }, unscoped
