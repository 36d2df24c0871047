"""Short names of organisations: whoever has or had one keeps it for as long as they live."""

from uuid import UUID

from django.db import IntegrityError, transaction

from apps.accounts.models import Membership, Organization, OrgSlug, OrgStatus
from apps.core.errors import Conflict
from apps.core.tenancy import system_scope

__all__ = ["RESERVED_SLUGS", "present_slug", "take_slug"]

# Words that would stand for something else in a path or a host name, or for us.
RESERVED_SLUGS = frozenset(
    {
        "about", "account", "accounts", "admin", "api", "app", "assets", "auth", "billing", "blog", "dashboard",
        "demo", "dev", "docs", "download", "export", "exports", "gateway", "guide", "health", "help",
        "impersonation", "internal", "invitation", "invitations", "invite", "legal", "login", "logout", "mail",
        "mcp", "metrics", "mindweave", "new", "null", "oauth", "organisation", "organisations", "organization",
        "organizations", "orgs", "pricing", "privacy", "public", "registry", "root", "scim", "security", "settings",
        "signup", "sso", "staff", "static", "status", "stripe", "support", "system", "teams", "terms", "undefined",
        "users", "welcome", "ws", "www",
    }
)  # fmt: skip


def take_slug(*, org_id: UUID, slug: str) -> None:
    """Give an organisation a short name, one of its earlier ones too; :class:`Conflict` where it is another's."""
    taken = Conflict("This short name is taken", code="slug_taken")
    with system_scope("a short name is one organisation's of all"):
        found = OrgSlug.objects.filter(slug=slug).values_list("org_id", flat=True).first()
        if found == org_id:
            return
        if found is not None:
            raise taken
        try:
            with transaction.atomic():
                OrgSlug.objects.create(org_id=org_id, slug=slug)
        except IntegrityError as error:
            raise taken from error


def present_slug(*, slug: str, user_id: UUID) -> str | None:
    """The short name now of the organisation that once had ``slug``, for its members alone; None for all others."""
    with system_scope("finds the organisation that an old address is about"):
        org_id = OrgSlug.objects.filter(slug=slug).values_list("org_id", flat=True).first()
        if org_id is None or not Membership.objects.filter(org_id=org_id, user_id=user_id).exists():
            return None
    found = Organization.objects.filter(pk=org_id).exclude(status=OrgStatus.DELETED)
    present: str | None = found.values_list("slug", flat=True).first()
    return None if present == slug else present
