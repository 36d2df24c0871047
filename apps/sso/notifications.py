"""What people are told of single sign-on: those who manage it."""

from collections.abc import Callable, Iterable
from uuid import UUID

from apps.events.contracts import Envelope
from apps.identity import selectors as identity
from apps.notify.contracts import Draft
from apps.notify.kinds import Kind, register_kind

__all__ = ["register"]

_MANAGERS = "sso.manage"
_LINK = "settings/sso"


def _always(title: str, body: str, tone: str) -> Callable[[Envelope], Iterable[Draft]]:
    def words(envelope: Envelope) -> Iterable[Draft]:
        name = envelope.data.get("name", "")
        yield Draft(
            title=title.format(name=name), body=body.format(name=name), link=_LINK, tone=tone, capability=_MANAGERS
        )

    return words


def _break_glass(envelope: Envelope) -> Iterable[Draft]:
    person = identity.user_find(UUID(envelope.data["user_id"]))
    yield Draft(
        title=f"{person.label if person else 'A break-glass owner'} signed in without single sign-on",
        body="Break-glass access is for the hour in which the identity provider fails. Ask, unless you know why.",
        link=_LINK, tone="danger", capability=_MANAGERS,
    )  # fmt: skip


def register() -> None:
    """Make the kinds known."""
    register_kind(Kind("sso_break_glass", ("sso.break_glass_used",), "alert-triangle", _break_glass))
    for kind, event, title, body, tone in (
        (
            "sso_domain_failing", "sso.domain_failing", "The record of {name} was not found",
            "Put it back, or the domain is no longer verified: its people then sign in without single sign-on.", "warn",
        ),
        (
            "sso_domain_lapsed", "sso.domain_lapsed", "{name} is no longer verified",
            "Its record stayed away. Nobody of it is held to single sign-on, and nobody new joins by it.", "danger",
        ),
        (
            "sso_enforced", "sso.enforced", "Single sign-on is enforced",
            "People of the verified domains sign in by {name} alone from now on.", "info",
        ),
        (
            "sso_metadata_changed", "sso.metadata_changed",
            "The identity provider of {name} has other keys or another address",
            "They were taken from its metadata. Look at the connection, unless you know why.", "warn",
        ),
        (
            "sso_metadata_failing", "sso.metadata_failing", "The metadata of {name} cannot be taken any more",
            "Once the provider changes its keys, nobody can sign in by it. The connection says what is wrong.",
            "danger",
        ),
        (
            "sso_relaxed", "sso.relaxed", "Single sign-on is no longer enforced",
            "People of the verified domains may sign in in other ways again.", "warn",
        ),
    ):  # fmt: skip
        register_kind(Kind(kind, (event,), "shield", _always(title, body, tone)))
