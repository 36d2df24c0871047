"""Choosing a member in a form: out of a list as long as that is short, by their address beyond."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final
from uuid import UUID

from django import forms

from apps.accounts import selectors
from apps.accounts.contracts import MemberInfo
from apps.core.errors import NotFound

__all__ = ["LISTED", "AddressOfMember", "Choices", "IdOfMember", "member_field", "members_listed", "named"]

# Beyond so many nobody finds anybody in a list, and a page of it takes seconds.
LISTED: Final = 200

# Ids with what they are called; None: there are too many for a list.
Choices = Sequence[tuple[UUID, str]] | None


def members_listed(org_id: UUID) -> list[MemberInfo] | None:
    """All members of an organisation, by address; None where there are more than a list is good for."""
    found = selectors.member_infos(org_id, most=LISTED + 1)
    return None if len(found) > LISTED else found


def named(people: Iterable[MemberInfo] | None) -> Choices:
    """Members with their name and address, by name."""
    if people is None:
        return None
    listed = sorted(people, key=lambda person: person.label.lower())
    return [(one.user_id, f"{one.name} ({one.email})" if one.name else one.email) for one in listed]


class AddressOfMember(forms.CharField):
    """The address of a member of the organisation, as the member's id; or one of ``words``, for what it stands for."""

    def __init__(self, *, org_id: UUID, words: Mapping[str, str], **kwargs: Any) -> None:
        attrs = {"autocomplete": "off", "spellcheck": "false", "autocapitalize": "off", "placeholder": "name@…"}
        super().__init__(max_length=254, widget=forms.TextInput(attrs=attrs), **kwargs)
        self.org_id, self.words = org_id, words

    def prepare_value(self, value: Any) -> Any:
        """Whose it is already, as their address."""
        try:
            return selectors.member_info(org_id=self.org_id, user_id=UUID(str(value))).email
        except (ValueError, NotFound):
            return value

    def clean(self, value: Any) -> Any:
        typed: str = super().clean(value).strip()
        if not typed:
            return self.words.get("", "")
        # What reads as an address is one, whatever somebody has called a team.
        member = selectors.member_by_address(org_id=self.org_id, email=typed) if "@" in typed else None
        if member is None and typed.casefold() in self.words:
            return self.words[typed.casefold()]
        if member is None:
            raise forms.ValidationError("No member has this address.")
        return str(member.user_id)


class IdOfMember(AddressOfMember):
    """The same as an id that is no text."""

    def clean(self, value: Any) -> Any:
        return UUID(super().clean(value))


def member_field(org_id: UUID, people: Choices, *, label: str, first: str = "") -> forms.Field:
    """The field for one member, which gives their id: a list, where there is one, headed by ``first``."""
    if people is None:
        return IdOfMember(org_id=org_id, words={}, label=label)
    choices = [("", first)] if first else []
    return forms.TypedChoiceField(
        label=label, coerce=UUID, choices=[*choices, *((str(id_), name) for id_, name in people)]
    )
