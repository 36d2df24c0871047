"""What members are told about the organisation and its people."""

from collections.abc import Iterable
from datetime import datetime
from uuid import UUID

from apps.accounts import selectors
from apps.events.contracts import Envelope
from apps.identity import selectors as identity
from apps.notify.contracts import Draft
from apps.notify.kinds import Kind, register_kind

__all__ = ["register"]


def _who(envelope: Envelope) -> tuple[UUID, str]:
    user_id = UUID(envelope.data["user_id"])
    user = identity.user_find(user_id)
    return user_id, user.label if user else "Somebody"


def _role_words(envelope: Envelope, field: str) -> str:
    """What the role is called; roles that have gone meanwhile keep their word."""
    role: str = envelope.data[field]
    return selectors.role_label(org_id=envelope.org_id, role=role) if envelope.org_id else role


def _joined(envelope: Envelope) -> Iterable[Draft]:
    user_id, name = _who(envelope)
    role = _role_words(envelope, "role")
    yield Draft(
        title=f"{name} joined", body=f"As {role}.", link=f"settings/members/{user_id}", tone="ok",
        capability="member.manage", except_id=user_id,
    )  # fmt: skip


def _left(envelope: Envelope) -> Iterable[Draft]:
    (_, name), role = _who(envelope), _role_words(envelope, "role")
    yield Draft(
        title=f"{name} is no longer a member", body=f"They were {role}. Their usage stays counted.",
        link="settings/members", capability="member.manage",
    )  # fmt: skip


def _role(envelope: Envelope) -> Iterable[Draft]:
    user_id, name = _who(envelope)
    role, before = _role_words(envelope, "role"), _role_words(envelope, "previous_role")
    yield Draft(
        title=f"{name} is now {role}", body=f"Before: {before}.",
        link=f"settings/members/{user_id}", capability="member.manage", except_id=user_id,
    )  # fmt: skip
    yield Draft(
        title=f"Your role is now {role}", body=f"Before: {before}.", link="settings",
        recipient_id=user_id,
    )  # fmt: skip


def _status(envelope: Envelope) -> Iterable[Draft]:
    """Suspended or resumed; any other change of the organisation is told by the audit trail alone."""
    if "status" not in envelope.data["changed"] or envelope.org_id is None:
        return
    org = selectors.org_find(envelope.org_id)
    if org is None:
        return
    if org.status == "suspended":
        yield Draft(
            title="The organisation was suspended", tone="danger",
            body="Its keys are refused and nothing new is counted until it is resumed.",
        )  # fmt: skip
    else:
        yield Draft(title="The organisation was resumed", tone="ok", body="Its keys work again.")


def _review_due(envelope: Envelope) -> Iterable[Draft]:
    yield Draft(
        title="Time to look through who can do what",
        body="Take away what nobody needs any more, then mark it as reviewed: the record is what auditors ask for.",
        link="settings/access", capability="access.review", tone="warn",
    )  # fmt: skip


def _chain_broken(envelope: Envelope) -> Iterable[Draft]:
    where = f" at position {envelope.data['position']:,}" if envelope.data["position"] else ""
    yield Draft(
        title="The audit log is not as it was sealed",
        body=f"The nightly verification found an entry {envelope.data['reason'].replace('_', ' ')}{where}.",
        link="settings/audit", capability="audit.read", tone="danger",
    )  # fmt: skip


def _stream_dead(envelope: Envelope) -> Iterable[Draft]:
    yield Draft(
        title=f"{envelope.data['name']} gets the audit log no more",
        body=f"It failed for three days: {envelope.data['error']}. Nothing is lost; resume it once it works again.",
        link="settings/audit/streams", capability="audit.manage", tone="danger",
    )  # fmt: skip


def _reads_log(org_id: UUID, user_id: UUID) -> bool:
    return "audit.read" in selectors.capabilities_for(org_id=org_id, user_id=user_id)


def _audit_export(envelope: Envelope) -> Iterable[Draft]:
    """To who asked, as long as they may read the log; nobody hears of what a key asked for."""
    org_id, asked_by = envelope.org_id, envelope.data["requested_by_id"]
    if org_id is None or asked_by is None or not _reads_log(org_id, UUID(asked_by)):
        return
    link, recipient = "settings/audit/exports", UUID(asked_by)
    if envelope.type == "audit.export_ready":
        until = datetime.fromisoformat(envelope.data["expires_at"])
        entries = envelope.data["entries"]
        yield Draft(
            title="Your export of the audit log is ready", tone="ok", link=link, recipient_id=recipient,
            body=f"{entries:,} {'entry' if entries == 1 else 'entries'}, to be fetched until {until.day} {until:%b}.",
        )  # fmt: skip
    else:
        yield Draft(
            title="Your export of the audit log failed", tone="danger", link=link, recipient_id=recipient,
            body=f"{envelope.data['failure']}.",
        )  # fmt: skip


def register() -> None:
    """Make the kinds known."""
    register_kind(Kind("member_joined", ("member.added",), "users", _joined))
    register_kind(Kind("member_left", ("member.removed",), "users", _left))
    register_kind(Kind("member_role", ("member.role_changed",), "user", _role))
    register_kind(Kind("org_status", ("org.updated",), "building", _status))
    register_kind(Kind("access_review", ("access.review_due",), "eye", _review_due))
    register_kind(Kind("audit_broken", ("audit.chain_broken",), "alert-triangle", _chain_broken))
    register_kind(Kind("audit_stream", ("audit.stream_dead",), "alert-triangle", _stream_dead))
    register_kind(Kind("audit_export", ("audit.export_ready", "audit.export_failed"), "download", _audit_export))
