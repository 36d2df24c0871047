"""Stand-ins for the page of components."""

from dataclasses import dataclass

from django import forms
from django.utils.safestring import SafeString, mark_safe

__all__ = ["SampleForm", "sample_snippets"]


class SampleForm(forms.Form):
    """One field of each kind."""

    name = forms.CharField(label="Name", help_text="What people call it.")
    kind = forms.ChoiceField(label="Kind", required=False, choices=[("a", "One"), ("b", "Another")])
    scopes = forms.MultipleChoiceField(
        label="It may", choices=[("read", "Read"), ("write", "Write")], widget=forms.CheckboxSelectMultiple
    )


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
