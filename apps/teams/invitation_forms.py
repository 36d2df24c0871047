"""Forms of invitations."""

from collections.abc import Iterable, Mapping
from typing import Any
from uuid import UUID

from django import forms

from apps.accounts.contracts import RoleInfo
from apps.teams.invitation_csv import MAX_BYTES, MAX_LINES
from apps.teams.invitations import MAX_MESSAGE

__all__ = ["AcceptSignupForm", "InviteFileForm", "InviteForm"]


def _roles(roles: Iterable[RoleInfo]) -> list[tuple[str, str]]:
    return [(role.key, role.name) for role in roles]


def _message() -> forms.CharField:
    return forms.CharField(
        label="Message", max_length=MAX_MESSAGE, required=False,
        help_text="Stands in the mail, without links.",
        widget=forms.Textarea(attrs={"rows": 2, "maxlength": MAX_MESSAGE}),
    )  # fmt: skip


class InviteForm(forms.Form):
    """Somebody to ask: an address, a role, a team, and words of one's own."""

    email = forms.EmailField(
        label="E-mail address", max_length=254, widget=forms.EmailInput(attrs={"autocomplete": "off"}),
    )  # fmt: skip
    role = forms.ChoiceField(label="Role")
    team_id = forms.TypedChoiceField(label="Team", required=False, coerce=UUID, empty_value=None)
    message = _message()

    def __init__(self, *args: Any, roles: Iterable[RoleInfo], teams: Mapping[UUID, str], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["role"].choices = _roles(roles)  # type: ignore[attr-defined]
        if teams:
            named = sorted(teams.items(), key=lambda team: team[1].lower())
            self.fields["team_id"].choices = [("", "No team yet"), *((str(id_), name) for id_, name in named)]  # type: ignore[attr-defined]
        else:
            del self.fields["team_id"]

    def wanted(self) -> dict[str, Any]:
        """What the service takes."""
        data = dict(self.cleaned_data)
        team_id = data.pop("team_id", None)
        return {**data, "team_ids": [team_id] if team_id else []}


class InviteFileForm(forms.Form):
    """Many at once: a file or pasted lines, and what holds for those that say nothing themselves."""

    file = forms.FileField(
        label="CSV file", required=False, help_text=f"{MAX_LINES} lines and {MAX_BYTES // 1024} KB at most.",
        widget=forms.ClearableFileInput(attrs={"accept": ".csv,text/csv,text/plain"}),
    )  # fmt: skip
    csv = forms.CharField(
        label="Or lines", required=False, max_length=MAX_BYTES, strip=False,
        widget=forms.Textarea(
            attrs={"rows": 6, "spellcheck": "false", "placeholder": "email,role,team\nada@example.com,developer,Loom"}
        ),
    )  # fmt: skip
    role = forms.ChoiceField(label="Role where a line has none")
    message = _message()

    def __init__(self, *args: Any, roles: Iterable[RoleInfo], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["role"].choices = _roles(roles)  # type: ignore[attr-defined]

    def clean(self) -> dict[str, Any]:
        data: dict[str, Any] = super().clean() or {}
        if not data.get("file") and not data.get("csv", "").strip() and not self.errors:
            raise forms.ValidationError("Choose a file, or paste lines.")
        return data


class AcceptSignupForm(forms.Form):
    """A new person whose address is known: the invitation's."""

    name = forms.CharField(label="Your name", max_length=150, widget=forms.TextInput(attrs={"autocomplete": "name"}))
    password = forms.CharField(
        label="Password",
        strip=False,
        help_text="At least 10 characters, none of the common ones.",
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
    )
