"""Law: a write is a service, and a service leaves an entry in the trail.

Read from the source: each public function of each ``services`` module must reach ``audit.services.record`` (or the port
that stands for it below audit) through the functions it calls, or stand in the list of exemptions with its reason.
"""

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import pytest

APPS = Path(__file__).resolve().parents[2] / "apps"
RECORD = "apps.audit.services.record"
PORT = "apps.events.ports.audit"

# What keeps its own record, and where.
EXEMPT = {
    "apps.identity.services.registration_problems": "looks and changes nothing",
    "apps.identity.services.as_body": "writes nothing",
    "apps.identity.services.reset_token_is_live": "writes nothing",
    "apps.identity.services.ask_reset": "the mail is the record, and whether there is one is not told",
    "apps.identity.services.ask_verification": "the mail is the record, and whether there is one is not told",
    "apps.identity.services.send_reset": "the mail is the record",
    "apps.identity.services.send_verification": "the mail is the record",
    "apps.identity.services.tell_registered": "the mail is the record",
    "apps.identity.services.valid_second_factor": "uses a code up; what it is shown for has its entry",
    "apps.audit.services.maintain": "retention by the clock; the run of its job is kept",
    "apps.audit.services.make_export": "that it is asked for and each fetching are recorded; it changes nothing",
    "apps.audit.services.sweep_exports": "takes up what is on record, and removes files whose time is over",
    "apps.audit.services.verify_all": "looks; what it finds is kept with the chain",
    "apps.audit.services.test_stream": "sends a test and changes nothing",
    "apps.audit.services.verify_org": "looks; what it finds is kept with the chain",
    "apps.audit.services.note_verification": "what was found of the trail is kept with its chain",
    "apps.events.services.publish": "the event is the record, kept in the outbox",
    "apps.events.services.publish_many": "the event is the record, kept in the outbox",
    "apps.events.services.maintain": "retention by the clock; the run of its job is kept",
    "apps.scheduler.services.perform_job": "the run is the record",
    "apps.scheduler.services.recover_runs": "changes runs, which are records themselves",
    "apps.scheduler.services.prune_runs": "retention by the clock; the run of its job is kept",
    "apps.notify.services.send_email": "the mail is the record",
    "apps.notify.services.deliver_email": "the mail is the record",
    "apps.notify.services.sweep_emails": "the mail is the record",
    "apps.notify.services.prune_emails": "retention by the clock; the run of its job is kept",
    "apps.notify.services.tell": "the notification is the record",
    "apps.notify.services.mark_read": "what a person has read is told by nothing else",
    "apps.notify.services.mark_all_read": "what a person has read is told by nothing else",
    "apps.notify.services.start_reading": "what a person has read is told by nothing else",
    "apps.notify.services.prune_notifications": "retention by the clock; the run of its job is kept",
    "apps.identity.services.prune_sign_ins": "retention by the clock; the run of its job is kept",
    "apps.sso.services.authenticate_scim_token": "looks, and notes when the token was last used",
    "apps.sso.services.note_scim_request": "the request is the record",
    "apps.sso.services.prune_scim_requests": "retention by the clock; the run of its job is kept",
    "apps.sso.services.forget_assertions": "retention by the clock; the run of its job is kept",
    "apps.sso.services.forget_told_sign_ins": "retention by the clock; the run of its job is kept",
    "apps.teams.services.prune_invitations": "retention by the clock; the run of its job is kept",
    "apps.usage.services.ingest": "the events are the record, kept in the inbox and then raw",
    "apps.usage.services.ingest_batch": "as ingest",
    "apps.usage.services.take_batches": "computes; nothing is kept of it yet",
    "apps.usage.services.admitted_rows": "computes; nothing is kept of it yet",
    "apps.usage.services.commit_rows": "events are their own record",
    "apps.usage.services.told": "says what became of events, which are their own record",
}


@dataclass
class Module:
    """What a module defines and what its names stand for."""

    name: str
    functions: dict[str, ast.FunctionDef | ast.AsyncFunctionDef] = field(default_factory=dict)
    imports: dict[str, str] = field(default_factory=dict)
    public: list[str] = field(default_factory=list)


@cache
def module(name: str) -> Module | None:
    path = APPS.parent / Path(*name.split("."))
    file = path.with_suffix(".py") if path.with_suffix(".py").exists() else path / "__init__.py"
    if not file.exists():
        return None
    found = Module(name)
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.imports |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            found.imports |= {alias.asname or alias.name: alias.name for alias in node.names}
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            found.functions.setdefault(node.name, node)
        elif isinstance(node, ast.Assign) and any(getattr(target, "id", "") == "__all__" for target in node.targets):
            found.public = list(ast.literal_eval(node.value))
    return found


def called(where: Module, function: ast.AST) -> Iterator[str]:
    """The dotted names that a function mentions, calls among them: a callback counts as called."""
    for node in ast.walk(function):
        if isinstance(node, ast.Name):
            if node.id in where.functions:
                yield f"{where.name}.{node.id}"
            elif node.id in where.imports:
                yield where.imports[node.id]
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            if node.value.id in where.imports:
                yield f"{where.imports[node.value.id]}.{node.attr}"
            elif node.attr in where.functions:
                yield f"{where.name}.{node.attr}"  # a method of the module's own class


def is_recorded(name: str, seen: set[str]) -> bool:
    if name in (RECORD, PORT):
        return True
    if name in seen or not name.startswith("apps."):
        return False
    seen.add(name)
    module_name, _, function = name.rpartition(".")
    where = module(module_name)
    if where is None:
        return False
    if function not in where.functions:
        # A package that hands on what one of its modules defines.
        return function in where.imports and is_recorded(where.imports[function], seen)
    return any(is_recorded(other, seen) for other in called(where, where.functions[function]))


def services() -> list[str]:
    """The public functions of every ``services`` module."""
    names = []
    for file in sorted([*APPS.glob("*/services.py"), *APPS.glob("*/services/__init__.py")]):
        name = ".".join(file.with_suffix("").relative_to(APPS.parent).parts).removesuffix(".__init__")
        where = module(name)
        assert where is not None
        assert where.public, f"{name} does not say in __all__ what is public"
        names += [f"{name}.{each}" for each in where.public if _is_function(where, each)]
    return names


def _is_function(where: Module, name: str) -> bool:
    return name in where.functions or (name[0].islower() and where.imports.get(name, "").startswith("apps."))


@pytest.mark.parametrize("name", [each for each in services() if each not in EXEMPT])
def test_a_public_service_leaves_an_entry_in_the_audit_trail(name) -> None:
    assert name == RECORD or is_recorded(name, set()), (
        f"{name} reaches no record(); record what it does, or exempt it here with the reason"
    )


@pytest.mark.parametrize("name", sorted(EXEMPT))
def test_an_exemption_is_of_a_service_that_exists_and_needs_it(name) -> None:
    assert name in services(), "remove the exemption"
    assert not is_recorded(name, set()), "it is recorded: remove the exemption"
