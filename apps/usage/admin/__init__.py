"""The usage engine for staff."""

from apps.usage.admin import engine, prices  # noqa: F401 - registers
