"""What pages show of sign-in providers."""

from django import template

from apps.identity import oauth_providers

__all__ = ["sign_in_providers"]

register = template.Library()


@register.simple_tag
def sign_in_providers() -> list[tuple[str, str]]:
    """The providers that are offered, as (key, name)."""
    return oauth_providers.configured()
