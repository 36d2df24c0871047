"""Forms of signing in and signing up. What makes a password good is decided by the services."""

from typing import Any

from django import forms

__all__ = ["CodeForm", "ConfirmCodeForm", "ConfirmPasswordForm", "FactorNameForm", "KeyForm", "LoginForm", "SignupForm",
           "TotpForm"]  # fmt: skip


def _email(**attrs: object) -> forms.EmailField:
    widget = forms.EmailInput(attrs={"autocomplete": "email", "inputmode": "email", **attrs})
    return forms.EmailField(label="E-mail address", max_length=254, widget=widget)


class LoginForm(forms.Form):
    """First step: address and password."""

    email = _email(autocomplete="username", autofocus=True)
    password = forms.CharField(
        label="Password", strip=False, widget=forms.PasswordInput(attrs={"autocomplete": "current-password"})
    )


class CodeForm(forms.Form):
    """Second step: a code of the authenticator, or a recovery code."""

    code = forms.CharField(
        label="Code",
        max_length=40,
        help_text="Six digits from your authenticator, or one of your recovery codes.",
        widget=forms.TextInput(attrs={"autocomplete": "one-time-code", "autofocus": True, "spellcheck": "false"}),
    )


class ConfirmPasswordForm(forms.Form):
    """Somebody who is signed in shows their password again."""

    password = forms.CharField(
        label="Password",
        strip=False,
        max_length=256,
        widget=forms.PasswordInput(attrs={"autocomplete": "current-password"}),
    )


class ConfirmCodeForm(CodeForm):
    """Or a code of their authenticator."""

    code = forms.CharField(
        label="Code",
        max_length=40,
        help_text="Six digits from your authenticator, or one of your recovery codes.",
        widget=forms.TextInput(attrs={"autocomplete": "one-time-code", "spellcheck": "false"}),
    )


class SignupForm(forms.Form):
    """A new person."""

    name = forms.CharField(
        label="Your name", max_length=150, widget=forms.TextInput(attrs={"autocomplete": "name", "autofocus": True})
    )
    email = _email()
    password = forms.CharField(
        label="Password",
        strip=False,
        help_text="At least 10 characters, none of the common ones.",
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
    )


class TotpForm(forms.Form):
    """The first code of an authenticator that is being enrolled."""

    code = forms.CharField(
        label="Code",
        max_length=20,
        help_text="The six digits that the app shows now.",
        widget=forms.TextInput(attrs={"autocomplete": "one-time-code", "inputmode": "numeric", "spellcheck": "false"}),
    )


class FactorNameForm(forms.Form):
    """What a person calls a factor of theirs."""

    name = forms.CharField(label="Name", max_length=64)


class KeyForm(forms.Form):
    """What a browser answered to a challenge, put in by our script; ``name`` where a key is enrolled."""

    name = forms.CharField(
        label="Name",
        max_length=64,
        required=False,
        help_text="What you will know it by.",
        widget=forms.TextInput(attrs={"autocomplete": "off"}),
    )
    challenge_token = forms.CharField(max_length=200, widget=forms.HiddenInput)
    credential = forms.JSONField(widget=forms.HiddenInput)

    def clean_credential(self) -> Any:
        given = self.cleaned_data["credential"]
        if not isinstance(given, dict) or not isinstance(given.get("response"), dict):
            raise forms.ValidationError("The browser's answer cannot be read")
        return given
