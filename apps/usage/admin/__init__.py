"""The usage engine for staff."""

from apps.usage.admin import background, engine, imports, prices, watch  # noqa: F401 - registers
