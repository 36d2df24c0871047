"""Forms of organisations."""

from typing import Any
from uuid import UUID

from django import forms

from apps.accounts.member_fields import Choices, member_field
from apps.core.clock import zone_names

__all__ = ["DeleteForm", "ExtendForm", "OrganizationForm", "ReasonForm", "SettingsForm", "TransferForm"]


def _zones() -> list[tuple[str, str]]:
    """Zones that people live in; ``Etc/…`` and the old abbreviations are left out."""
    named = sorted(zone for zone in zone_names() if "/" in zone and not zone.startswith(("Etc/", "SystemV/")))
    return [("UTC", "UTC"), *((zone, zone.replace("_", " ")) for zone in named)]


class OrganizationForm(forms.Form):
    """A new organisation."""

    name = forms.CharField(
        label="Name", max_length=120, widget=forms.TextInput(attrs={"autocomplete": "organization", "autofocus": True})
    )
    timezone = forms.ChoiceField(
        label="Time zone",
        choices=_zones,
        initial="UTC",
        help_text="Days and months are cut by it.",
        widget=forms.Select(attrs={"data-guess-zone": ""}),
    )


class SettingsForm(forms.Form):
    """What of an organisation its admins may change here."""

    name = forms.CharField(label="Name", max_length=120, widget=forms.TextInput(attrs={"autocomplete": "organization"}))
    slug = forms.CharField(
        label="Short name", max_length=60, required=False,
        help_text="Part of every address. Those with the one before lead on to the new one; nobody else can have it.",
        widget=forms.TextInput(attrs={"autocomplete": "off", "spellcheck": "false", "autocapitalize": "none"}),
    )  # fmt: skip
    timezone = forms.ChoiceField(
        label="Time zone", help_text="Days and months are cut by it. Days counted before a change keep their borders."
    )

    def __init__(self, *args: Any, present: str, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        zones = _zones()
        # The API takes any IANA name; one that is not offered must not be lost by saving something else.
        other = [] if any(zone == present for zone, _ in zones) else [(present, present)]
        self.fields["timezone"].choices = [*other, *zones]  # type: ignore[attr-defined]


class DeleteForm(forms.Form):
    """The word that says that somebody means it: the organisation's short name."""

    confirm = forms.CharField(
        max_length=60, widget=forms.TextInput(attrs={"autocomplete": "off", "spellcheck": "false"})
    )

    def __init__(self, *args: Any, slug: str, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.slug = slug
        self.fields["confirm"].label = f"Type {slug} to confirm"

    def clean_confirm(self) -> str:
        typed: str = self.cleaned_data["confirm"]
        if typed != self.slug:
            raise forms.ValidationError("This is not the short name of the organisation.")
        return typed


class ReasonForm(forms.Form):
    """Why staff suspend or resume organisations; what else may be said of it, the service says."""

    reason = forms.CharField(
        label="Reason",
        max_length=300,
        error_messages={"required": "Say why."},
        help_text="Kept in the audit trail of each organisation, where its admins can read it.",
        widget=forms.Textarea(attrs={"rows": 3, "maxlength": 300}),
    )


class ExtendForm(ReasonForm):
    """By how many days staff put an erasure off, and why."""

    days = forms.IntegerField(label="Days", min_value=1, max_value=365, initial=30)
    field_order = ("days", "reason")


class TransferForm(forms.Form):
    """Who becomes an owner, and whether whoever does it stays one."""

    stay_owner = forms.BooleanField(label="Stay an owner beside them", required=False)
    field_order = ("user_id", "stay_owner")

    def __init__(self, *args: Any, org_id: UUID, people: Choices, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["user_id"] = member_field(org_id, people, label="New owner", first="Choose a member")
        self.order_fields(self.field_order)
