"""Forms of members and teams."""

from collections.abc import Iterable, Mapping
from typing import Any
from uuid import UUID

from django import forms

from apps.accounts.contracts import RoleInfo
from apps.accounts.member_fields import Choices, member_field

__all__ = ["AddToTeamForm", "RoleForm", "TeamForm"]


class RoleForm(forms.Form):
    """A role out of those that whoever asks may give, each with what it may do."""

    role = forms.ChoiceField(label="Role")

    def __init__(self, *args: Any, roles: Iterable[RoleInfo], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["role"].choices = [(role.key, _with_words(role)) for role in roles]  # type: ignore[attr-defined]


def _with_words(role: RoleInfo) -> str:
    words = role.description
    return f"{role.name}: {words[0].lower()}{words[1:]}" if words else role.name


class TeamForm(forms.Form):
    """A team: a new one, or another name and place."""

    name = forms.CharField(label="Name", max_length=120, widget=forms.TextInput(attrs={"autocomplete": "off"}))
    parent_id = forms.TypedChoiceField(label="Part of", required=False, coerce=UUID, empty_value=None)

    def __init__(self, *args: Any, teams: Mapping[UUID, str], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if teams:
            named = sorted(teams.items(), key=lambda team: team[1].lower())
            self.fields["parent_id"].choices = [("", "No other team"), *((str(id_), name) for id_, name in named)]  # type: ignore[attr-defined]
        else:
            del self.fields["parent_id"]


class AddToTeamForm(forms.Form):
    """A member of the organisation who is not in the team yet."""

    def __init__(self, *args: Any, org_id: UUID, people: Choices, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["user_id"] = member_field(org_id, people, label="Member")
