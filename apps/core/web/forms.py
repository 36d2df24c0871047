"""What forms of every app share: errors of services on fields, and a sending that counts once."""

from uuid import uuid4

from django import forms
from django.http import HttpRequest

from apps.core.errors import MindWeaveError

__all__ = ["add_problem", "new_once", "sentence", "take_once"]

_REMEMBERED = 20


def add_problem(form: forms.BaseForm, error: MindWeaveError) -> None:
    """Put what a service refused on the fields that it names, the rest above the form."""
    placed = False
    for item in error.errors:
        field = item["pointer"].strip("/").split("/")[0]
        form.add_error(field if field in form.fields else None, item["detail"])
        placed = True
    if not placed:
        form.add_error(None, error.detail or error.title)


def sentence(error: MindWeaveError) -> str:
    """What a service refused, in words, for a form without fields."""
    return error.detail or error.title


def new_once() -> str:
    """A word for the field ``once`` of a form that must not be taken twice."""
    return uuid4().hex


def take_once(request: HttpRequest) -> bool:
    """Whether this sending of a form with ``once`` is its first, as far as this session remembers (20 sendings)."""
    taken = request.session.get("once_taken", [])
    once = request.POST.get("once", "")[:40]
    if not once or once in taken:
        return False
    request.session["once_taken"] = [*taken, once][-_REMEMBERED:]
    return True
