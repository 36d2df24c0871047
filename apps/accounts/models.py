"""Organisations and who belongs to them."""

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models.functions import Lower

from apps.core.basemodels import TimestampedModel, UUIDModel
from apps.core.clock import now
from apps.core.tenancy import OrgScopedModel

__all__ = ["CustomRole", "Impersonation", "Membership", "OrgStatus", "Organization", "Role"]


class OrgStatus(models.TextChoices):
    ACTIVE = "active"
    SUSPENDED = "suspended"
    DELETED = "deleted"


class Role(models.TextChoices):
    """The five built-in roles; what each may do is in ``capabilities``."""

    OWNER = "owner"
    ADMIN = "admin"
    BILLING = "billing"
    DEVELOPER = "developer"
    VIEWER = "viewer"


class Organization(TimestampedModel):
    """The tenant. Everything that belongs to one carries its id."""

    name = models.CharField(max_length=120)
    slug = models.SlugField(max_length=60, unique=True)
    timezone = models.CharField(max_length=64, default="UTC", help_text="IANA name; days and months are cut by it.")
    status = models.CharField(max_length=12, choices=OrgStatus.choices, default=OrgStatus.ACTIVE)
    status_reason = models.CharField(max_length=300, blank=True)
    deleted_at = models.DateTimeField(null=True, blank=True)
    raw_retention_days = models.PositiveSmallIntegerField(
        default=7, validators=[MinValueValidator(1), MaxValueValidator(400)]
    )
    requires_mfa = models.BooleanField(
        default=False, db_default=False, help_text="Whether members enter only with a second factor."
    )

    class Meta:
        ordering = ("name",)
        constraints = (
            models.CheckConstraint(
                condition=models.Q(raw_retention_days__gte=1, raw_retention_days__lte=400),
                name="accounts_org_retention_range",
            ),
        )

    def __str__(self) -> str:
        return self.name


class CustomRole(TimestampedModel, OrgScopedModel):
    """A role that an organisation has made out of named permissions.

    ``key`` is the word that memberships, invitations and groups name it by; it never changes, the name may.
    """

    org = models.ForeignKey(Organization, on_delete=models.CASCADE, related_name="+")
    key = models.SlugField(max_length=60, editable=False)
    name = models.CharField(max_length=60)
    description = models.CharField(max_length=200, blank=True)
    capabilities = ArrayField(models.CharField(max_length=40))

    class Meta(OrgScopedModel.Meta):
        ordering = ("name",)
        constraints = (
            models.UniqueConstraint(fields=["org", "key"], name="accounts_customrole_key"),
            models.UniqueConstraint("org", Lower("name"), name="accounts_customrole_name"),
            models.CheckConstraint(condition=~models.Q(key__in=Role.values), name="accounts_customrole_not_built_in"),
            models.CheckConstraint(
                condition=~models.Q(capabilities__overlap=["org.delete"]), name="accounts_customrole_not_owners_own"
            ),
        )

    def __str__(self) -> str:
        return self.name


class Membership(TimestampedModel, OrgScopedModel):
    """A person in an organisation, with one role: a built-in one, or the key of one that the organisation has made.

    The database holds the second kind to it: a role that somebody has cannot go.
    """

    org = models.ForeignKey(Organization, on_delete=models.CASCADE, related_name="memberships")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    role = models.CharField(max_length=60)

    class Meta(OrgScopedModel.Meta):
        constraints = (models.UniqueConstraint(fields=["org", "user"], name="accounts_membership_unique"),)
        indexes = (models.Index(fields=["user"], name="accounts_membership_user"),)

    def __str__(self) -> str:
        return f"{self.user_id} {self.role}"


class Impersonation(UUIDModel, OrgScopedModel):
    """A staff member in the place of a member: from when until when, why, and whether they may write."""

    org = models.ForeignKey(Organization, on_delete=models.CASCADE, related_name="+")
    staff = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    reason = models.CharField(max_length=300)
    may_write = models.BooleanField(default=False)
    started_at = models.DateTimeField(default=now)
    ends_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True, blank=True)
    end_reason = models.CharField(max_length=20, blank=True)

    class Meta(OrgScopedModel.Meta):
        indexes = (
            models.Index(fields=["ends_at"], name="accounts_stay_open", condition=models.Q(ended_at=None)),
            models.Index(fields=["org", "-started_at"], name="accounts_stay_org"),
        )

    def __str__(self) -> str:
        return f"{self.staff_id} as {self.user_id} until {self.ends_at:%Y-%m-%d %H:%M}"
