"""The usage engine for staff."""

from apps.usage.admin import engine, prices, watch  # noqa: F401 - registers
