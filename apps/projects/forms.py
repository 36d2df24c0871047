"""Forms of projects and keys."""

from collections.abc import Sequence
from datetime import UTC, datetime, time, timedelta
from typing import Any
from uuid import UUID

from django import forms

from apps.accounts.member_fields import AddressOfMember, Choices
from apps.core.clock import now
from apps.projects.contracts import SCOPE_WORDS, SCOPES, ApiKeyInfo, ProjectSettingsInfo
from apps.projects.settings_writes import LONGEST_LIFE_DAYS

__all__ = [
    "OVERLAPS",
    "KeyChangeForm",
    "KeyForm",
    "KeyNameForm",
    "KeyPolicyForm",
    "ProjectChangeForm",
    "ProjectForm",
    "SettingsForm",
]

_LIVES = [("", "Never"), ("30", "In 30 days"), ("90", "In 90 days"), ("365", "In a year")]
SERVICE_ACCOUNT = "service"
# How long a key that is replaced goes on: in seconds, and in words.
OVERLAPS = {
    0: "ends now", 3600: "goes on for an hour", 86_400: "goes on for a day", 7 * 86_400: "goes on for a week",
    30 * 86_400: "goes on for 30 days",
}  # fmt: skip


def _lives(max_days: int | None) -> list[tuple[str, str]]:
    if max_days is None:
        return _LIVES
    fitting = [life for life in _LIVES if life[0] and int(life[0]) < max_days]
    return [*fitting, (str(max_days), f"In {max_days} days" if max_days > 1 else "Tomorrow")]


class ProjectForm(forms.Form):
    """A new project."""

    name = forms.CharField(label="Name", max_length=120, widget=forms.TextInput(attrs={"autocomplete": "off"}))
    team_id = forms.TypedChoiceField(
        label="Team", required=False, coerce=UUID, empty_value=None, help_text="Whose usage this is, unless a key says."
    )

    def __init__(self, *args: Any, teams: dict[UUID, str], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if teams:
            named = sorted(teams.items(), key=lambda team: team[1].lower())
            self.fields["team_id"].choices = [("", "None"), *((str(id_), name) for id_, name in named)]  # type: ignore[attr-defined]
        else:
            del self.fields["team_id"]


def _owner(org_id: UUID, said: str, *, service: str) -> forms.Field:
    """Whose a key is, where there are too many members for a list; ``service`` is the value of a service account."""
    words = {SERVICE_ACCOUNT: service}
    return AddressOfMember(org_id=org_id, words=words, label="Whose", required=False, help_text=said)


class KeyForm(forms.Form):
    """A new key of a project.

    ``environments`` are the project's, ``people`` whom its usage may count for besides who makes it, ``max_days`` the
    longest life that the organisation allows.
    """

    name = forms.CharField(
        label="Name",
        max_length=120,
        help_text="What or who uses it, such as “laptop” or “nightly import”.",
        widget=forms.TextInput(attrs={"autocomplete": "off"}),
    )
    scopes = forms.MultipleChoiceField(
        label="It may",
        choices=[(scope, SCOPE_WORDS[scope]) for scope in SCOPES if scope in SCOPE_WORDS],
        initial=["ingest"],
        widget=forms.CheckboxSelectMultiple,
    )
    days = forms.ChoiceField(label="Ends", choices=_LIVES, required=False, initial="365")
    owner = forms.ChoiceField(
        label="Whose", required=False, help_text="What it sends counts as theirs where an event names nobody."
    )
    environment = forms.ChoiceField(
        label="Environment", required=False, help_text="Its usage gets the tag environment."
    )
    allowed_ips = forms.CharField(
        label="Used from",
        required=False,
        max_length=3000,
        help_text="Addresses or networks such as 192.0.2.0/24, one a line. Empty: from everywhere.",
        widget=forms.Textarea(attrs={"rows": 2, "spellcheck": "false"}),
    )

    def __init__(
        self,
        *args: Any,
        org_id: UUID,
        environments: Sequence[str] = (),
        people: Choices = (),
        max_days: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self.fields["days"].choices = _lives(max_days)  # type: ignore[attr-defined]
        if max_days is not None:
            self.fields["days"].initial = str(min(max_days, 365))
        if people is None:
            self.fields["owner"] = _owner(
                org_id,
                "A member’s address. Empty: yours; “service”: nobody’s, a service account.",
                service=SERVICE_ACCOUNT,
            )
        else:
            self.fields["owner"].choices = [  # type: ignore[attr-defined]
                ("", "Yours"),
                (SERVICE_ACCOUNT, "Nobody’s: a service account"),
                *((str(id_), name) for id_, name in people),
            ]
        if environments:
            self.fields["environment"].choices = [("", "None"), *((name, name) for name in environments)]  # type: ignore[attr-defined]
        else:
            del self.fields["environment"]

    @property
    def expires_at(self) -> datetime | None:
        """When the key ends, by the life that was chosen."""
        days = self.cleaned_data["days"]
        return now() + timedelta(days=int(days)) if days else None

    def owner_id(self, maker: UUID) -> UUID | None:
        """Whose it is: who makes it, nobody, or whom they chose."""
        chosen = self.cleaned_data["owner"]
        if chosen == SERVICE_ACCOUNT:
            return None
        return UUID(chosen) if chosen else maker

    @property
    def networks(self) -> list[str]:
        """Where it may be used from."""
        return lines_of(self.cleaned_data["allowed_ips"])


class KeyChangeForm(forms.Form):
    """What of a key may be changed; ``version`` is what its page showed."""

    version = forms.CharField(required=False, widget=forms.HiddenInput)
    name = forms.CharField(label="Name", max_length=120, widget=forms.TextInput(attrs={"autocomplete": "off"}))
    owner = forms.ChoiceField(label="Whose", required=False)
    environment = forms.ChoiceField(label="Environment", required=False)
    allowed_ips = forms.CharField(
        label="Used from",
        required=False,
        max_length=3000,
        help_text="Addresses or networks, one a line. Empty: from everywhere.",
        widget=forms.Textarea(attrs={"rows": 3, "spellcheck": "false"}),
    )
    rate_limit_per_minute = forms.IntegerField(
        label="Requests a minute", required=False, min_value=0, max_value=2_000_000_000,
        help_text="Empty: the default limit. 0: no limit.",
    )  # fmt: skip
    ends_on = forms.DateField(
        label="Ends on", required=False, help_text="Earlier than before, never later; at midnight UTC.",
        widget=forms.DateInput(attrs={"type": "date"}),
    )  # fmt: skip

    def __init__(
        self,
        *args: Any,
        key: ApiKeyInfo,
        org_id: UUID,
        environments: Sequence[str],
        people: Choices,
        **kwargs: Any,
    ) -> None:
        initial = {
            "version": key.version, "name": key.name, "owner": str(key.owner_id or ""), "environment": key.environment,
            "allowed_ips": "\n".join(key.allowed_ips), "rate_limit_per_minute": key.rate_limit_per_minute,
            "ends_on": key.expires_at.date() if key.expires_at else None,
        }  # fmt: skip
        super().__init__(*args, **{**kwargs, "initial": initial})
        self.key = key
        if people is None:
            self.fields["owner"] = _owner(org_id, "A member’s address. Empty: nobody’s, a service account.", service="")
        else:
            choices = [("", "Nobody’s: a service account"), *((str(id_), name) for id_, name in people)]
            self.fields["owner"].choices = choices  # type: ignore[attr-defined]
        names = list(dict.fromkeys([*environments, *([key.environment] if key.environment else [])]))
        self.fields["environment"].choices = [("", "None"), *((name, name) for name in names)]  # type: ignore[attr-defined]

    @property
    def changes(self) -> dict[str, Any]:
        """What the service takes; an end that stayed is left out."""
        data = self.cleaned_data
        out: dict[str, Any] = {
            "name": data["name"], "owner_id": UUID(data["owner"]) if data["owner"] else None,
            "environment": data["environment"], "allowed_ips": lines_of(data["allowed_ips"]),
            "rate_limit_per_minute": data["rate_limit_per_minute"],
        }  # fmt: skip
        if "ends_on" in self.changed_data and data["ends_on"] is not None:
            out["expires_at"] = datetime.combine(data["ends_on"], time(), UTC)
        return out


class KeyPolicyForm(forms.Form):
    """What is asked of all keys of an organisation."""

    max_life_days = forms.IntegerField(
        label="Longest life in days", required=False, min_value=1, max_value=LONGEST_LIFE_DAYS,
        help_text="Of keys made from now on. Empty: they may live for ever.",
    )  # fmt: skip
    leaked_keys = forms.ChoiceField(
        label="A key that is reported as leaked",
        choices=[("revoke", "is revoked at once"), ("flag", "goes on, and is shown as leaked")],
        help_text="Its owner and the admins are told in either case.",
    )


def _lines(label: str, help_text: str, *, rows: int = 3, longest: int = 10_000) -> forms.CharField:
    """A field of lines, which may be empty."""
    return forms.CharField(
        label=label, required=False, max_length=longest, help_text=help_text,
        widget=forms.Textarea(attrs={"rows": rows, "spellcheck": "false"}),
    )  # fmt: skip


class SettingsForm(forms.Form):
    """What a project asks of its events, and its environments; ``version`` is what its page showed."""

    version = forms.CharField(required=False, widget=forms.HiddenInput)
    environments = _lines("Names", "One a line. A key is of one of them, or of none.", longest=1000)
    allowed_models = _lines("Models", "Such as claude-haiku-*, one a line. Empty: all.")
    allowed_sources = _lines(
        "Sources", "Such as claude_code; sdk is what names no source. One a line. Empty: all.", longest=5000
    )
    outside = forms.ChoiceField(
        label="An event outside these",
        choices=[("report", "is counted, and you are told"), ("refuse", "is refused, and you are told")],
    )
    metadata = forms.ChoiceField(
        label="Metadata",
        choices=[("keep", "is kept"), ("tags", "is kept where it is a tag key"), ("drop", "is dropped")],
    )
    metadata_drop = _lines("Keys to drop", "Of metadata, one a line.", rows=2)
    metadata_hash = _lines(
        "Keys to hash",
        "Their values are kept as a hash of this project: equal ones stay equal, nobody reads them.",
        rows=2,
    )
    email_attribution = forms.BooleanField(
        label="Find people by the e-mail addresses of telemetry", required=False,
        help_text="Without it, what telemetry sends counts as the key’s owner’s, and no address is kept.",
    )  # fmt: skip
    default_tags = _lines("Default tags", "Such as cost_center = 42, one a line: for events that lack the tag.")
    raw_retention_days = forms.IntegerField(
        label="Days that single events are kept", required=False, min_value=1, max_value=400
    )

    def __init__(self, *args: Any, present: ProjectSettingsInfo, org_days: int, **kwargs: Any) -> None:
        initial = {name: getattr(present, name) for name in self.base_fields}
        for name in _LINES:
            initial[name] = "\n".join(initial[name])
        initial["default_tags"] = "\n".join(f"{key} = {value}" for key, value in present.default_tags.items())
        super().__init__(*args, **{**kwargs, "initial": initial})
        days = self.fields["raw_retention_days"]
        days.help_text = f"From now on. Empty: {org_days}, as everywhere in the organisation; never more. Sums stay."

    def clean_default_tags(self) -> dict[str, str]:
        out = {}
        for line in filter(str.strip, self.cleaned_data["default_tags"].splitlines()):
            key, sign, value = line.partition("=")
            if not sign:
                raise forms.ValidationError(f"“{line[:60]}” has no =")
            out[key.strip()] = value.strip()
        return out

    @property
    def changes(self) -> dict[str, Any]:
        """What the service takes."""
        data = {name: value for name, value in self.cleaned_data.items() if name != "version"}
        return {**data, **{name: lines_of(data[name]) for name in _LINES}}


class ProjectChangeForm(ProjectForm):
    """A project's name and team."""


_LINES = ("environments", "allowed_models", "allowed_sources", "metadata_drop", "metadata_hash")


def lines_of(text: str) -> list[str]:
    """The lines that say something; commas part them too."""
    return [line.strip() for line in text.replace(",", "\n").splitlines() if line.strip()]


class KeyNameForm(forms.Form):
    """A new key that sends, by its name alone."""

    name = forms.CharField(
        label="Name of the key",
        max_length=120,
        help_text="What or who uses it, such as “laptop”.",
        widget=forms.TextInput(attrs={"autocomplete": "off"}),
    )
