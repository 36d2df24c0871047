"""Stand-ins for the page of components."""

from dataclasses import dataclass
from typing import Any

from django import forms
from django.utils.safestring import SafeString, mark_safe

__all__ = ["NEW_TEXT", "OLD_TEXT", "SampleForm", "sample_chart", "sample_snippets"]


class SampleForm(forms.Form):
    """One field of each kind."""

    name = forms.CharField(label="Name", help_text="What people call it.")
    kind = forms.ChoiceField(label="Kind", required=False, choices=[("a", "One"), ("b", "Another")])
    scopes = forms.MultipleChoiceField(
        label="It may", choices=[("read", "Read"), ("write", "Write")], widget=forms.CheckboxSelectMultiple
    )
    told = forms.BooleanField(label="Tell the team", required=False, help_text="Once, when it is made.")


@dataclass(frozen=True, slots=True)
class _Snippet:
    key: str
    label: str
    hint: str
    code: SafeString


def sample_snippets() -> list[_Snippet]:
    """Two tabs of code."""
    return [
        _Snippet("one", "curl", "Sends one.", mark_safe('curl <span class="mw-tok-s">"http://…"</span>')),
        _Snippet("two", "Python", "", mark_safe('<span class="mw-tok-k">import</span> json')),
    ]


def sample_chart() -> dict[str, Any]:
    """Ten days of two series, the last one running."""
    days = [f"{day} Nov" for day in range(9, 19)]
    first, second = [12, 18, 17, 22, 9, 4, 14, 21, 25, 6], [5, 7, 9, 6, 2, 1, 8, 9, 7, 2]
    return {
        "labels": days, "titles": days, "marks": [0, 7], "kind": "money", "partial": True,
        "ghost": None, "ghost_name": "",
        "series": [{"name": "claude-opus-5-5", "c": 1, "v": first}, {"name": "claude-haiku-4-5", "c": 2, "v": second}],
        "rows": [{"day": day, "values": [one, two]} for day, one, two in zip(days, first, second, strict=True)],
    }  # fmt: skip


OLD_TEXT = """name: weather
description: Tells the weather of a place.
transport: http
tools:
  - forecast
  - alerts
timeout: 30
retries: 2
cache: no
region: eu-central
owner: platform
contact: platform@example.com
"""
NEW_TEXT = """name: weather
description: Tells the weather\u200b\u200b of any place on earth.
transport: http
tools:
  - forecast
  - alerts
  - history
timeout: 30
retries: 2
cache: no
region: eu-central
owner: platform
contact: weather@example.com
"""
