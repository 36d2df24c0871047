"""The form by which somebody says that they have looked through who can do what."""

from django import forms

__all__ = ["ReviewForm"]


class ReviewForm(forms.Form):
    """What was found, and when it is looked through again."""

    note = forms.CharField(
        label="What you found", max_length=500, required=False, widget=forms.Textarea(attrs={"rows": 3})
    )
    next_due = forms.DateField(label="Next review", widget=forms.DateInput(attrs={"type": "date"}))
