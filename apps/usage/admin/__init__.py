"""The usage engine for staff."""

from apps.usage.admin import background, engine, imports, prices, upkeep, watch  # noqa: F401 - registers
