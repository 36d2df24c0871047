"""Short names for addresses, made out of names."""

from collections.abc import Callable

from django.utils.text import slugify

__all__ = ["free_slug"]


def free_slug(name: str, taken: Callable[[str], bool], *, fallback: str) -> str:
    """A slug of at most 60 characters that is not taken: the name's own, else with the first free number behind it.

    Callers hold a lock under which nobody else takes one.
    """
    base = slugify(name)[:50].strip("-") or fallback
    slug, number = base, 2
    while taken(slug):
        slug, number = f"{base}-{number}", number + 1
    return slug
