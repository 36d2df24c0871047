"""Forms of members and teams."""

from collections.abc import Iterable, Mapping
from typing import Any
from uuid import UUID

from django import forms

from apps.accounts.contracts import MemberInfo

__all__ = ["ROLE_WORDS", "AddToTeamForm", "RoleForm", "TeamForm"]

# What each role may do, in a line.
ROLE_WORDS = {
    "owner": "Everything, deleting the organisation too",
    "admin": "Everything but deleting the organisation",
    "billing": "Usage, prices and bills",
    "developer": "Usage, and the keys of their teams' projects",
    "viewer": "Looks at usage, changes nothing",
}


class RoleForm(forms.Form):
    """A role out of those that whoever asks may give, each with what it may do."""

    role = forms.ChoiceField(label="Role")

    def __init__(self, *args: Any, roles: Iterable[str], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        choices = [
            (role, f"{role.capitalize()}: {ROLE_WORDS[role][0].lower()}{ROLE_WORDS[role][1:]}") for role in roles
        ]
        self.fields["role"].choices = choices  # type: ignore[attr-defined]


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

    user_id = forms.TypedChoiceField(label="Member", coerce=UUID)

    def __init__(self, *args: Any, people: Iterable[MemberInfo], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        named = sorted(people, key=lambda person: person.label.lower())
        self.fields["user_id"].choices = [  # type: ignore[attr-defined]
            (str(one.user_id), f"{one.name} ({one.email})" if one.name else one.email) for one in named
        ]
