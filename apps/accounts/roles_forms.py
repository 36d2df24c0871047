"""Forms of roles."""

from collections.abc import Iterable
from typing import Any

from django import forms

from apps.accounts.contracts import RoleInfo
from apps.accounts.permissions import GROUPS, OWNER_ONLY

__all__ = ["DeleteRoleForm", "OwnRoleForm"]


class OwnRoleForm(forms.Form):
    """A role of the organisation's own: its name, a line about it, and a box for each permission, by group.

    Permissions that whoever fills it in lacks are shown and cannot be chosen.
    """

    name = forms.CharField(label="Name", max_length=60, widget=forms.TextInput(attrs={"autocomplete": "off"}))
    description = forms.CharField(
        label="What it is for", max_length=200, required=False, widget=forms.TextInput(attrs={"autocomplete": "off"})
    )

    def __init__(self, *args: Any, held: frozenset[str], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._groups: list[str] = []
        for number, (group, permissions) in enumerate(GROUPS.items()):
            name = f"group{number}"
            offered = [each for each in permissions if each.name in held - OWNER_ONLY]
            if not offered:
                continue
            self._groups.append(name)
            self.fields[name] = forms.MultipleChoiceField(
                label=group,
                required=False,
                choices=[(each.name, each.said) for each in offered],
                widget=forms.CheckboxSelectMultiple,
                initial=[each.name for each in offered if each.name in (self.initial.get("capabilities") or ())],
            )

    def groups(self) -> list[forms.BoundField]:
        """The boxes, a field for each group."""
        return [self[name] for name in self._groups]

    def clean(self) -> dict[str, Any]:
        data = super().clean() or {}
        data["capabilities"] = [each for name in self._groups for each in data.pop(name, ())]
        if not data["capabilities"] and not self.errors:
            raise forms.ValidationError("Choose at least one permission.")
        return data


class DeleteRoleForm(forms.Form):
    """Which role takes the place of one that goes; asked where somebody has it."""

    replacement = forms.ChoiceField(label="Give its members")

    def __init__(self, *args: Any, roles: Iterable[RoleInfo], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["replacement"].choices = [(role.key, role.name) for role in roles]  # type: ignore[attr-defined]
