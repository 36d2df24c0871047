"""From the errors of services to the errors of forms."""

from django import forms

from apps.core.errors import MindWeaveError

__all__ = ["add_problem"]


def add_problem(form: forms.BaseForm, error: MindWeaveError) -> None:
    """Put what a service refused on the fields that it names, the rest above the form."""
    placed = False
    for item in error.errors:
        field = item["pointer"].strip("/").split("/")[0]
        form.add_error(field if field in form.fields else None, item["detail"])
        placed = True
    if not placed:
        form.add_error(None, error.detail or error.title)
