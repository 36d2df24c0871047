"""The form by which a right on one thing is given, for the apps that have such things."""

from collections.abc import Iterable
from typing import Any
from uuid import UUID

from django import forms

from apps.accounts.grants import Grantable, GrantInfo, words_here
from apps.accounts.member_fields import Choices, IdOfMember

__all__ = ["GrantForm", "in_words"]


def in_words(rows: Iterable[GrantInfo]) -> list[tuple[GrantInfo, str]]:
    """Each with what it gives, as a person says it."""
    return [(row, "; ".join(words_here(name) for name in row.capabilities)) for row in rows]


class GrantForm(forms.Form):
    """To whom, and what; reading is not asked, it comes with each."""

    capabilities = forms.MultipleChoiceField(label="They may", widget=forms.CheckboxSelectMultiple)

    def __init__(
        self,
        *args: Any,
        kind: Grantable,
        org_id: UUID,
        held: frozenset[str],
        people: Choices,
        teams: Iterable[tuple[UUID, str]] = (),
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        groups = sorted(((str(id_), name) for id_, name in teams), key=lambda team: team[1].lower())
        if people is None:
            named_teams = {name.casefold(): id_ for id_, name in groups}
            said = "A member’s address, or the name of a team." if groups else "A member’s address."
            self.fields["grantee"] = IdOfMember(org_id=org_id, words=named_teams, label="To", help_text=said)
        else:
            members = [(str(id_), name) for id_, name in people]
            choices = [("Teams", groups), ("Members", members)] if groups else members
            self.fields["grantee"] = forms.TypedChoiceField(label="To", coerce=UUID, choices=choices)
        self.order_fields(("grantee", "capabilities"))
        self.fields["capabilities"].choices = [  # type: ignore[attr-defined]
            (name, words_here(name)) for name in kind.capabilities if name in held
        ]
