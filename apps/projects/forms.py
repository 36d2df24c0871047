"""Forms of projects and keys."""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django import forms

from apps.core.clock import now
from apps.projects.contracts import SCOPES

__all__ = ["KeyForm", "KeyNameForm", "ProjectForm"]

SCOPE_WORDS = {
    "ingest": "Send usage",
    "read": "Read usage",
    "backfill": "Send usage of the past 400 days",
    "gateway": "Call Claude through the gateway",
    "evaluate": "Ask whether policies allow a call",
    "admin": "Act for other people",
}
_LIVES = [("", "Never"), ("30", "In 30 days"), ("90", "In 90 days"), ("365", "In a year")]


class ProjectForm(forms.Form):
    """A new project."""

    name = forms.CharField(label="Name", max_length=120, widget=forms.TextInput(attrs={"autocomplete": "off"}))
    team_id = forms.TypedChoiceField(
        label="Team", required=False, coerce=UUID, empty_value=None, help_text="Whose usage this is, unless a key says."
    )

    def __init__(self, *args: Any, teams: dict[UUID, str], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if teams:
            named = sorted(teams.items(), key=lambda team: team[1].lower())
            self.fields["team_id"].choices = [("", "None"), *((str(id_), name) for id_, name in named)]  # type: ignore[attr-defined]
        else:
            del self.fields["team_id"]


class KeyForm(forms.Form):
    """A new key of a project."""

    name = forms.CharField(
        label="Name",
        max_length=120,
        help_text="What or who uses it, such as “laptop” or “nightly import”.",
        widget=forms.TextInput(attrs={"autocomplete": "off"}),
    )
    scopes = forms.MultipleChoiceField(
        label="It may",
        choices=[(scope, SCOPE_WORDS[scope]) for scope in SCOPES if scope in SCOPE_WORDS],
        initial=["ingest"],
        widget=forms.CheckboxSelectMultiple,
    )
    days = forms.ChoiceField(label="Ends", choices=_LIVES, required=False, initial="365")

    @property
    def expires_at(self) -> datetime | None:
        """When the key ends, by the life that was chosen."""
        days = self.cleaned_data["days"]
        return now() + timedelta(days=int(days)) if days else None


class KeyNameForm(forms.Form):
    """A new key that sends, by its name alone."""

    name = forms.CharField(
        label="Name of the key",
        max_length=120,
        help_text="What or who uses it, such as “laptop”.",
        widget=forms.TextInput(attrs={"autocomplete": "off"}),
    )
