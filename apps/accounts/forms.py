"""Forms of organisations."""

from zoneinfo import available_timezones

from django import forms

__all__ = ["OrganizationForm"]


def _zones() -> list[tuple[str, str]]:
    """Zones that people live in; ``Etc/…`` and the old abbreviations are left out."""
    named = sorted(zone for zone in available_timezones() if "/" in zone and not zone.startswith(("Etc/", "SystemV/")))
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
