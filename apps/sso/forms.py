"""Forms of single sign-on."""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django import forms

from apps.accounts.contracts import MemberInfo, RoleInfo
from apps.core.clock import now

__all__ = [
    "BreakGlassForm",
    "DomainForm",
    "FindForm",
    "MappingForm",
    "MetadataForm",
    "OidcForm",
    "SamlForm",
    "TokenForm",
]

_PLAIN = {"autocomplete": "off"}
_MOST_METADATA = 1024 * 1024


class FindForm(forms.Form):
    """The address that somebody signs in with; its domain says where."""

    email = forms.EmailField(
        label="Work e-mail address", max_length=254,
        widget=forms.EmailInput(attrs={"autocomplete": "username", "autofocus": True}),
    )  # fmt: skip


class DomainForm(forms.Form):
    """A domain to prove."""

    name = forms.CharField(
        label="Domain", max_length=253,
        widget=forms.TextInput(attrs={**_PLAIN, "placeholder": "example.com", "spellcheck": "false"}),
    )  # fmt: skip


class BreakGlassForm(forms.Form):
    """An owner who may sign in without the provider."""

    user_id = forms.TypedChoiceField(label="Owner", coerce=UUID)

    def __init__(self, *args: Any, people: Iterable[MemberInfo], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["user_id"].choices = [(str(one.user_id), one.label) for one in people]  # type: ignore[attr-defined]


# ---------------------------------------------------------------- connections
class _ConnectionForm(forms.Form):
    """What connections of both kinds have."""

    name = forms.CharField(label="Name", max_length=120, widget=forms.TextInput(attrs=_PLAIN), initial="")
    default_role = forms.ChoiceField(
        label="Role of whoever joins by it", help_text="What their groups give goes before it. Nobody becomes an owner."
    )
    creates_members = forms.BooleanField(
        label="Whoever signs in becomes a member", required=False, initial=True,
        help_text="Off: only those who are members already, or were provisioned, get in.",
    )  # fmt: skip
    groups_claim = forms.CharField(
        label="Groups", max_length=200, required=False, initial="groups", widget=forms.TextInput(attrs=_PLAIN),
        help_text="The claim or attribute that lists a person's groups. Empty: groups are not read.",
    )  # fmt: skip

    def __init__(self, *args: Any, roles: Mapping[str, RoleInfo], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["default_role"].choices = [(key, role.name) for key, role in roles.items()]  # type: ignore[attr-defined]


class OidcForm(_ConnectionForm):
    """An OpenID Connect provider."""

    issuer = forms.URLField(
        label="Issuer", max_length=500, required=False, assume_scheme="https",
        widget=forms.URLInput(attrs={**_PLAIN, "placeholder": "https://idp.example.com"}),
        help_text="As the provider's discovery document names it, to the letter.",
    )  # fmt: skip
    client_id = forms.CharField(label="Client id", max_length=300, required=False, widget=forms.TextInput(attrs=_PLAIN))
    client_secret = forms.CharField(
        label="Client secret", max_length=500, required=False,
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
        help_text="Kept encrypted and never shown. Empty: the one that is there stays.",
    )  # fmt: skip
    scopes = forms.CharField(
        label="Scopes", max_length=300, initial="openid email profile", widget=forms.TextInput(attrs=_PLAIN)
    )
    needs_auth_time = forms.BooleanField(
        label="Confirmations want the time of the sign-in", required=False, initial=True,
        help_text="Off for a provider that never tells it (auth_time), such as Google: then its word is taken.",
    )  # fmt: skip
    field_order = (
        "name", "issuer", "client_id", "client_secret", "scopes", "groups_claim", "default_role", "creates_members",
        "needs_auth_time",
    )  # fmt: skip


class SamlForm(_ConnectionForm):
    """A SAML provider. Certificates are pasted one behind the other."""

    idp_entity_id = forms.CharField(
        label="Entity id of the provider", max_length=500, required=False, widget=forms.TextInput(attrs=_PLAIN)
    )
    idp_sso_url = forms.URLField(
        label="Sign-on address", max_length=500, required=False, assume_scheme="https",
        widget=forms.URLInput(attrs=_PLAIN), help_text="The one for HTTP-Redirect.",
    )  # fmt: skip
    idp_certificates = forms.CharField(
        label="Signing certificates", required=False, max_length=100_000, strip=True,
        widget=forms.Textarea(attrs={**_PLAIN, "rows": 6, "spellcheck": "false", "class": "mw-in mw-mono"}),
        help_text="PEM. Several stand one behind the other: the old and the new one while the provider changes keys.",
    )  # fmt: skip
    idp_metadata_url = forms.URLField(
        label="Address of the metadata", max_length=500, required=False, assume_scheme="https",
        widget=forms.URLInput(attrs=_PLAIN),
        help_text="Fetched again every six hours: new certificates count by themselves. Empty: never.",
    )  # fmt: skip
    subject_attribute = forms.CharField(
        label="Subject attribute", max_length=200, required=False, widget=forms.TextInput(attrs=_PLAIN),
        help_text="An attribute that never changes hands. Empty: the NameID, which should then be persistent.",
    )  # fmt: skip
    email_attribute = forms.CharField(
        label="Address attribute", max_length=200, required=False, widget=forms.TextInput(attrs=_PLAIN),
        help_text="Empty: email, mail and the other usual names, then the NameID.",
    )  # fmt: skip
    signs_requests = forms.BooleanField(label="Sign our requests", required=False)
    allows_unsolicited = forms.BooleanField(
        label="Take sign-ins that begin at the provider", required=False,
        help_text="They can't be tied to a browser, so somebody can be signed in as somebody else without noticing.",
    )  # fmt: skip
    field_order = (
        "name", "idp_entity_id", "idp_sso_url", "idp_certificates", "idp_metadata_url", "subject_attribute",
        "email_attribute", "groups_claim", "default_role", "creates_members", "signs_requests", "allows_unsolicited",
    )  # fmt: skip

    def clean_idp_certificates(self) -> list[str]:
        text: str = self.cleaned_data["idp_certificates"]
        mark = "-----END CERTIFICATE-----"
        parts = text.split(mark) if mark in text else text.split("\n\n")
        return [part for part in (one.strip() for one in parts) if part]


class MetadataForm(forms.Form):
    """The provider's metadata: an address, or the text itself, as a file or pasted."""

    url = forms.URLField(
        label="Address of the metadata", max_length=500, required=False, assume_scheme="https",
        widget=forms.URLInput(attrs={**_PLAIN, "placeholder": "https://idp.example.com/metadata"}),
    )  # fmt: skip
    file = forms.FileField(label="Or a file", required=False, widget=forms.FileInput(attrs={"accept": ".xml,text/xml"}))
    text = forms.CharField(
        label="Or the text", required=False, max_length=_MOST_METADATA,
        widget=forms.Textarea(attrs={**_PLAIN, "rows": 4, "spellcheck": "false", "class": "mw-in mw-mono"}),
    )  # fmt: skip

    def clean(self) -> dict[str, Any]:
        given = [name for name in ("url", "file", "text") if self.cleaned_data.get(name)]
        if len(given) != 1:
            raise forms.ValidationError("Give one of the three.")
        return self.cleaned_data


# ---------------------------------------------------------------- groups and provisioning
class MappingForm(forms.Form):
    """What a group gives."""

    group = forms.CharField(
        label="Group", max_length=300, widget=forms.TextInput(attrs={**_PLAIN, "list": "pushed-groups"}),
        help_text="To the letter as the provider sends it: a name, or with Entra an id.",
    )  # fmt: skip
    role = forms.ChoiceField(label="Role", required=False)
    team_id = forms.TypedChoiceField(label="Team", required=False, coerce=UUID, empty_value=None)

    def __init__(self, *args: Any, roles: Mapping[str, RoleInfo], teams: Mapping[UUID, str], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        named = sorted(teams.items(), key=lambda team: team[1].lower())
        self.fields["role"].choices = [("", "No role"), *((key, role.name) for key, role in roles.items())]  # type: ignore[attr-defined]
        self.fields["team_id"].choices = [("", "No team"), *((str(id_), name) for id_, name in named)]  # type: ignore[attr-defined]


class TokenForm(forms.Form):
    """A new token of provisioning."""

    name = forms.CharField(
        label="Name", max_length=120, widget=forms.TextInput(attrs={**_PLAIN, "placeholder": "Okta"})
    )
    days = forms.TypedChoiceField(
        label="Ends", coerce=int, required=False, empty_value=None, initial="365",
        choices=[("90", "in 90 days"), ("365", "in a year"), ("730", "in two years"), ("", "never")],
    )  # fmt: skip

    @property
    def expires_at(self) -> datetime | None:
        days = self.cleaned_data["days"]
        return now() + timedelta(days=days) if days else None
