"""Forms of signing in and signing up. What makes a password good is decided by the services."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from django import forms

from apps.core.clock import zone_names

__all__ = [
    "AddressForm",
    "CodeForm",
    "ConfirmCodeForm",
    "ConfirmPasswordForm",
    "EraseForm",
    "FactorNameForm",
    "ForgotForm",
    "KeyForm",
    "LoginForm",
    "PasswordForm",
    "ProfileForm",
    "ResetForm",
    "SignupForm",
    "TotpForm",
]  # fmt: skip

GOOD = "At least 10 characters. Several words that do not belong together are easy to keep and hard to guess."
# Places, not offsets and abbreviations.
ZONES = tuple(zone for zone in zone_names() if "/" in zone and not zone.startswith(("Etc/", "SystemV/")))


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
        max_length=256,
        strip=False,
        help_text=GOOD,
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


# ---------------------------------------------------------------- the account
def _new_password(label: str = "New password") -> forms.CharField:
    widget = forms.PasswordInput(attrs={"autocomplete": "new-password"})
    return forms.CharField(label=label, max_length=256, strip=False, help_text=GOOD, widget=widget)


class ForgotForm(forms.Form):
    """Whose password is forgotten, or whose address is to be proved."""

    email = _email(autocomplete="username", autofocus=True)


class ResetForm(forms.Form):
    """A new password, by a mailed link."""

    password = _new_password()


class PasswordForm(forms.Form):
    """A new password, by the present one."""

    current_password = forms.CharField(
        label="Present password",
        max_length=256,
        strip=False,
        widget=forms.PasswordInput(attrs={"autocomplete": "current-password"}),
    )
    new_password = _new_password()


class ProfileForm(forms.Form):
    """What a person says of themselves."""

    name = forms.CharField(label="Name", max_length=150, widget=forms.TextInput(attrs={"autocomplete": "name"}))
    timezone = forms.ChoiceField(
        label="Time zone",
        required=False,
        help_text="Times on pages are told in it. Without one, in the organisation's.",
    )

    default_org_id = forms.TypedChoiceField(
        label="Default organisation", required=False, coerce=UUID, empty_value=None,
        help_text="Meant where none is named: after signing in, and by programs that act for you.",
    )  # fmt: skip

    def __init__(
        self, *args: object, present: str = "", organizations: Sequence[tuple[UUID, str]] = (), **kwargs: object
    ) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
        if len(organizations) > 1:
            self.fields["default_org_id"].choices = [  # type: ignore[attr-defined]
                ("", "The one you joined first"),
                *((str(id_), name) for id_, name in organizations),
            ]
        else:
            # Nothing to choose.
            del self.fields["default_org_id"]
        zones = sorted({present, *ZONES} - {""})
        self.fields["timezone"].choices = [  # type: ignore[attr-defined]
            ("", "The organisation's"),
            *((zone, zone.replace("_", " ")) for zone in zones),
        ]


class AddressForm(forms.Form):
    """Another address."""

    email = _email()


class EraseForm(forms.Form):
    """The words that say that somebody means it: their own address."""

    confirm = forms.CharField(
        max_length=254, widget=forms.TextInput(attrs={"autocomplete": "off", "spellcheck": "false"})
    )

    def __init__(self, *args: Any, email: str, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.email = email
        self.fields["confirm"].label = f"Type {email} to confirm"

    def clean_confirm(self) -> str:
        typed: str = self.cleaned_data["confirm"]
        if typed.strip().lower() != self.email:
            raise forms.ValidationError("This is not your address.")
        return typed
