"""What the usage engine does on events of the bus."""

from datetime import datetime
from uuid import UUID

import structlog

from apps.accounts.selectors import orgs_for_user
from apps.core.errors import Conflict
from apps.events.contracts import Envelope
from apps.events.registry import subscribe
from apps.projects.selectors import ENVIRONMENT_TAG, key_list
from apps.usage.ingest.attribution import directory_changed
from apps.usage.repricing import reprice_start
from apps.usage.services import register_tag_key

__all__ = [
    "on_key_changed",
    "on_people_changed",
    "on_person_changed",
    "on_price_changed",
    "on_settings_changed",
    "register",
]

log = structlog.get_logger(__name__)


def register() -> None:
    """Make the subscriptions known."""
    subscribe(name="usage.price_unpriced", types=["usage.price_changed"], handler=on_price_changed)
    subscribe(name="usage.default_tags", types=["project.settings_changed"], handler=on_settings_changed)
    subscribe(name="usage.people", types=["member.*", "team.*"], handler=on_people_changed)
    subscribe(name="usage.addresses", types=["user.created", "user.updated"], handler=on_person_changed)
    subscribe(name="usage.environments", types=["key.created", "key.updated"], handler=on_key_changed)


def on_price_changed(envelope: Envelope) -> None:
    """``usage.price_changed``: what was counted without a price in its period gets it. What has a cost keeps it."""
    data = envelope.data
    reprice_start(
        org_id=envelope.org_id if envelope.org_id is None else UUID(str(envelope.org_id)),
        model=data["model"],
        start=datetime.fromisoformat(data["valid_from"]),
        end=datetime.fromisoformat(data["valid_to"]) if data["valid_to"] else None,
        only_unpriced=True,
        reason="a price was set",
    )


def on_settings_changed(envelope: Envelope) -> None:
    """``project.settings_changed``: a tag that a project gives its events is one that usage is counted by."""
    if envelope.org_id is not None and "default_tags" in envelope.data["changed"]:
        for key in envelope.data["tag_keys"]:
            _count_by(envelope.org_id, key)


def on_people_changed(envelope: Envelope) -> None:
    """``member.*``, ``team.*``: who belongs to an organisation and to its teams is read anew for attribution."""
    if envelope.org_id is not None:
        directory_changed(UUID(str(envelope.org_id)))


def on_person_changed(envelope: Envelope) -> None:
    """``user.created``, ``user.updated``: a verified address counts for its person wherever they belong."""
    for org in orgs_for_user(UUID(envelope.data["user_id"])):
        directory_changed(org.id)


def on_key_changed(envelope: Envelope) -> None:
    """``key.created``, ``key.updated``: with the first key of an environment usage is counted by environments."""
    if envelope.org_id is None:
        return
    keys = key_list(org_id=envelope.org_id).filter(pk=UUID(envelope.data["key_id"]))
    if keys.exclude(environment="").exists():
        _count_by(envelope.org_id, ENVIRONMENT_TAG)


def _count_by(org_id: UUID, key: str) -> None:
    try:
        register_tag_key(org_id=org_id, key=key)
    except Conflict as error:
        # It is one already; or there are as many as there may be, and somebody has to choose.
        if error.code != "tag_key_exists":
            log.warning("usage.tag_key_not_registered", org_id=str(org_id), key=key, code=error.code)
