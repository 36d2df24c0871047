"""The usage engine for staff."""

from apps.usage.admin import engine  # noqa: F401 - registers
