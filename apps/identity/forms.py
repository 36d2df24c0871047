"""Forms of signing in and signing up. What makes a password good is decided by the services."""

from django import forms

__all__ = ["CodeForm", "ConfirmCodeForm", "ConfirmPasswordForm", "LoginForm", "SignupForm"]


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
