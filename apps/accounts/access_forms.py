"""The form by which somebody says that they have looked through who can do what."""

from django import forms

from apps.accounts.models import ReviewEvery

__all__ = ["EveryForm", "ReviewForm"]


class ReviewForm(forms.Form):
    """What was found, and when it is looked through again."""

    note = forms.CharField(
        label="What you found", max_length=500, required=False, widget=forms.Textarea(attrs={"rows": 3})
    )
    next_due = forms.DateField(label="Next review", widget=forms.DateInput(attrs={"type": "date"}))


class EveryForm(forms.Form):
    """How often who can do what is to be looked through."""

    access_review_every = forms.ChoiceField(label="Remind", choices=ReviewEvery.choices)
