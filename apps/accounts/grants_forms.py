"""The form by which a right on one thing is given, for the apps that have such things."""

from collections.abc import Iterable
from typing import Any
from uuid import UUID

from django import forms

from apps.accounts.contracts import MemberInfo
from apps.accounts.grants import Grantable, GrantInfo, words_here

__all__ = ["GrantForm", "in_words"]


def in_words(rows: Iterable[GrantInfo]) -> list[tuple[GrantInfo, str]]:
    """Each with what it gives, as a person says it."""
    return [(row, "; ".join(words_here(name) for name in row.capabilities)) for row in rows]


class GrantForm(forms.Form):
    """To whom, and what; reading is not asked, it comes with each."""

    grantee = forms.TypedChoiceField(label="To", coerce=UUID)
    capabilities = forms.MultipleChoiceField(label="They may", widget=forms.CheckboxSelectMultiple)

    def __init__(
        self,
        *args: Any,
        kind: Grantable,
        held: frozenset[str],
        people: Iterable[MemberInfo],
        teams: Iterable[tuple[UUID, str]] = (),
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        named = sorted(people, key=lambda person: person.label.lower())
        members = [(str(one.user_id), f"{one.name} ({one.email})" if one.name else one.email) for one in named]
        groups = sorted(((str(id_), name) for id_, name in teams), key=lambda team: team[1].lower())
        choices = [("Teams", groups), ("Members", members)] if groups else members
        self.fields["grantee"].choices = choices  # type: ignore[attr-defined]
        self.fields["capabilities"].choices = [  # type: ignore[attr-defined]
            (name, words_here(name)) for name in kind.capabilities if name in held
        ]
