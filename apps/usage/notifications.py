"""What people are told about counting, prices and imports."""

from collections.abc import Iterable
from datetime import timedelta
from decimal import Decimal
from uuid import UUID

from apps.core.web import figures
from apps.events.contracts import Envelope
from apps.notify.contracts import Draft
from apps.notify.kinds import Kind, register_kind
from apps.projects.selectors import project_list
from apps.usage.selectors.engine import orgs_of_slots

__all__ = ["register"]

_IMPORTED = {"completed": ("is imported", "ok"), "failed": ("could not be imported", "danger")}


def _import(envelope: Envelope) -> Iterable[Draft]:
    """Whoever cancels an import knows it."""
    data = envelope.data
    if data["state"] not in _IMPORTED:
        return
    words, tone = _IMPORTED[data["state"]]
    counts = f"{figures.count(data['accepted'])} events of {figures.count(data['lines_read'])} lines"
    told = [
        f"{figures.count(data[name])} {what}"
        for name, what in (("duplicates", "counted before"), ("rejected", "refused"))
        if data[name]
    ]
    why = [data["failure"].rstrip(".")] if data["failure"] else []
    body = ". ".join([*why, ", ".join([counts, *told])]) + "."
    yield Draft(
        title=f"{data['name']} {words}", body=body, tone=tone,
        link=f"imports/{data['import_id']}", capability="usage.import",
    )  # fmt: skip


def _unpriced(envelope: Envelope) -> Iterable[Draft]:
    model = envelope.data["model"]
    yield Draft(
        title=f"{model} has no price", tone="warn", link="settings/prices", capability="price.manage",
        body="Its calls are counted, what they cost is in no sum. Set a price, and they get it.",
        once=f"model:{model}",
    )  # fmt: skip


def _outside(envelope: Envelope) -> Iterable[Draft]:
    data = envelope.data
    if envelope.org_id is None:
        return
    project = project_list(envelope.org_id, archived=True).filter(pk=UUID(data["project_id"])).first()
    if project is not None:
        done = "They are refused." if data["refused"] else "They are counted."
        yield Draft(
            title=f"{project.name} uses {data['rule']} {data['value']}", tone="warn", capability="project.manage",
            link=f"projects/{project.slug}/settings", body=f"Its settings do not allow that {data['rule']}. {done}",
            once=f"{data['rule']}:{project.pk}:{data['value']}"[:200],
        )  # fmt: skip


def _repriced(envelope: Envelope) -> Iterable[Draft]:
    data = envelope.data
    if not data["changed"]:
        return
    before, after = (figures.money(Decimal(data[name])) for name in ("cost_before_usd", "cost_after_usd"))
    events = f"{figures.count(data['changed'])} event{'s' if data['changed'] != 1 else ''}"
    yield Draft(
        title=f"{data['model'] or 'All models'} repriced", tone="ok", link="costs", capability="price.manage",
        body=f"{events} cost {after} now; before {before}.",
    )  # fmt: skip


def _affected(envelope: Envelope) -> Iterable[UUID]:
    return orgs_of_slots(envelope.data["slots"])


def _stalled(envelope: Envelope) -> Iterable[Draft]:
    yield Draft(
        title="Counting is delayed", tone="danger", capability="settings.manage",
        body="Events are taken and kept, and will be counted; figures stand still until then.",
    )  # fmt: skip


def _recovered(envelope: Envelope) -> Iterable[Draft]:
    delay = figures.duration(timedelta(seconds=envelope.data["stalled_seconds"]) // timedelta(milliseconds=1))
    yield Draft(
        title="Counting goes on", tone="ok", capability="settings.manage", body=f"It stood still for {delay}."
    )  # fmt: skip


def register() -> None:
    """Make the kinds known."""
    register_kind(Kind("import", ("usage.import_finished",), "download", _import))
    register_kind(Kind("model_unpriced", ("usage.model_unpriced",), "receipt-dollar", _unpriced))
    register_kind(Kind("outside_settings", ("usage.outside_settings",), "alert-triangle", _outside))
    register_kind(Kind("repriced", ("usage.repriced",), "refresh", _repriced))
    register_kind(Kind("drain_stalled", ("usage.drain_stalled",), "alert-triangle", _stalled, orgs=_affected))
    register_kind(Kind("drain_recovered", ("usage.drain_recovered",), "circle-check", _recovered, orgs=_affected))
