"""Forms of tags and prices."""

from datetime import datetime, time
from decimal import Decimal, InvalidOperation
from typing import Any
from zoneinfo import ZoneInfo

from django import forms

from apps.usage.pricing.book import TOKEN_KINDS
from apps.usage.selectors.prices import PriceInfo

__all__ = ["KIND_WORDS", "PriceForm", "TagForm"]

KIND_WORDS = {
    "input": "Input",
    "output": "Output",
    "cache_read": "Cache read",
    "cache_write_5m": "Cache write, 5 min",
    "cache_write_1h": "Cache write, 1 h",
    "web_search": "Web search",
}


class TagForm(forms.Form):
    """One more key of ``metadata`` to count by."""

    key = forms.CharField(
        label="Key", max_length=100, help_text="As clients write it into an event's metadata, such as cost_center.",
        widget=forms.TextInput(attrs={"autocomplete": "off", "spellcheck": "false"}),
    )  # fmt: skip


def _amount(kind: str) -> forms.DecimalField:
    return forms.DecimalField(
        label=KIND_WORDS[kind],
        min_value=Decimal(0),
        max_digits=24,
        decimal_places=12,
        widget=forms.TextInput(attrs={"inputmode": "decimal", "autocomplete": "off"}),
    )


class PriceForm(forms.Form):
    """An organisation's own price of a model."""

    model = forms.CharField(
        label="Model", max_length=200, widget=forms.TextInput(attrs={"autocomplete": "off", "spellcheck": "false"})
    )
    valid_from = forms.DateField(
        label="From",
        help_text="Midnight of your organisation's day.",
        widget=forms.DateInput(attrs={"type": "date"}, format="%Y-%m-%d"),
    )
    input, output, cache_read, cache_write_5m, cache_write_1h, web_search = map(_amount, TOKEN_KINDS)
    multipliers = forms.CharField(
        label="Multipliers", required=False, max_length=1000, help_text="One a line, such as batch 0.5.",
        widget=forms.Textarea(attrs={"rows": 3, "spellcheck": "false"}),
    )  # fmt: skip
    source = forms.CharField(
        label="Source", max_length=200, help_text="Where the price stands: a contract, an offer.",
        widget=forms.TextInput(attrs={"autocomplete": "off"}),
    )  # fmt: skip

    def __init__(self, *args: Any, timezone: str, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.timezone = timezone

    @staticmethod
    def initial_of(price: PriceInfo) -> dict[str, Any]:
        """What the form starts from: the price in force."""
        units = {kind: f"{unit.normalize():f}" for kind, unit in price.units.items()}
        multipliers = "\n".join(f"{name} {factor}" for name, factor in price.multipliers.items())
        return {"model": price.model, "multipliers": multipliers, **units}

    def clean_valid_from(self) -> datetime:
        day = self.cleaned_data["valid_from"]
        if not 2000 <= day.year <= 2100:
            raise forms.ValidationError("A day between 2000 and 2100.")
        return datetime.combine(day, time(), ZoneInfo(self.timezone))

    def clean_multipliers(self) -> dict[str, Decimal]:
        found: dict[str, Decimal] = {}
        for line in self.cleaned_data["multipliers"].splitlines():
            if not line.strip():
                continue
            name, _, factor = line.strip().partition(" ")
            try:
                found[name] = Decimal(factor.strip())
            except InvalidOperation:
                raise forms.ValidationError("A name and a factor on each line, such as batch 0.5.") from None
        return found

    @property
    def amounts(self) -> list[forms.BoundField]:
        """The fields of the token kinds."""
        return [self[kind] for kind in TOKEN_KINDS]

    @property
    def fields_of_service(self) -> dict[str, Any]:
        """What the service takes."""
        data = self.cleaned_data
        units = {kind: data[kind] for kind in TOKEN_KINDS}
        return {**{name: data[name] for name in ("model", "valid_from", "multipliers", "source")}, "units": units}
