"""Forms of single sign-on."""

from django import forms

__all__ = ["FindForm"]


class FindForm(forms.Form):
    """The address that somebody signs in with; its domain says where."""

    email = forms.EmailField(
        label="Work e-mail address", max_length=254,
        widget=forms.EmailInput(attrs={"autocomplete": "username", "autofocus": True}),
    )  # fmt: skip
