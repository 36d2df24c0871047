"""Organisations and who belongs to them."""

from datetime import datetime

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models.functions import Lower

from apps.core.basemodels import TimestampedModel, UUIDModel
from apps.core.clock import now
from apps.core.tenancy import OrgScopedModel

__all__ = [
    "AccessReview",
    "CustomRole",
    "Impersonation",
    "Membership",
    "OrgExport",
    "OrgSlug",
    "OrgStatus",
    "OrgTombstone",
    "Organization",
    "Role",
]


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


class ReviewEvery(models.TextChoices):
    """How often an organisation looks through who can do what."""

    OFF = "off", "Never reminded"
    QUARTER = "quarter", "Every quarter"
    HALF_YEAR = "half_year", "Every half year"
    YEAR = "year", "Every year"


class Organization(TimestampedModel):
    """The tenant. Everything that belongs to one carries its id."""

    name = models.CharField(max_length=120)
    slug = models.SlugField(max_length=60, unique=True)
    timezone = models.CharField(max_length=64, default="UTC", help_text="IANA name; days and months are cut by it.")
    status = models.CharField(max_length=12, choices=OrgStatus.choices, default=OrgStatus.ACTIVE)
    status_reason = models.CharField(max_length=300, blank=True)
    # The life's end: deleted, it can be restored until ``erase_at``, to the status it had; from ``erasing_at`` on it
    # is being taken apart.
    deleted_at = models.DateTimeField(null=True, blank=True)
    erase_at = models.DateTimeField(null=True, blank=True)
    erasing_at = models.DateTimeField(null=True, blank=True)
    status_before = models.CharField(max_length=12, blank=True)
    plan = models.CharField(max_length=40, default="free", help_text="What it allows, core.ports.plan_limits says.")
    raw_retention_days = models.PositiveSmallIntegerField(
        default=7, validators=[MinValueValidator(1), MaxValueValidator(400)]
    )
    requires_mfa = models.BooleanField(
        default=False, db_default=False, help_text="Whether members enter only with a second factor."
    )

    access_review_every = models.CharField(
        max_length=12, choices=ReviewEvery.choices, default=ReviewEvery.QUARTER, db_default="quarter",
        help_text="How often who can do what is to be looked through; those who do it are reminded.",
    )  # fmt: skip
    access_review_told = models.DateField(
        null=True, blank=True, editable=False, help_text="The due date that was told of last."
    )

    class Meta:
        ordering = ("name",)
        # As the whole product spells it to people; code and the API's names follow the specification.
        verbose_name = "organisation"
        constraints = (
            models.CheckConstraint(
                condition=models.Q(raw_retention_days__gte=1, raw_retention_days__lte=400),
                name="accounts_org_retention_range",
            ),
        )
        indexes = (
            models.Index(fields=["erase_at"], name="accounts_org_to_erase", condition=models.Q(erase_at__isnull=False)),
        )

    def __str__(self) -> str:
        return self.name

    def can_be_restored(self, moment: datetime) -> bool:
        """Whether it is deleted and still within its grace."""
        gone = self.erasing_at is not None or (self.erase_at is not None and self.erase_at <= moment)
        return self.status == OrgStatus.DELETED and not gone


class OrgSlug(UUIDModel, OrgScopedModel):
    """A short name that an organisation has or had: its addresses lead on to the present one, and nobody else's do."""

    org = models.ForeignKey(Organization, on_delete=models.CASCADE, related_name="+")
    slug = models.SlugField(max_length=60, unique=True)
    created_at = models.DateTimeField(default=now, editable=False)

    class Meta(OrgScopedModel.Meta):
        ordering = ("-created_at",)
        verbose_name = "short name"

    def __str__(self) -> str:
        return self.slug


class OrgExport(TimestampedModel, OrgScopedModel):
    """All data of an organisation as one file: asked for by an owner, made by a worker, theirs to fetch for a time."""

    class State(models.TextChoices):
        QUEUED = "queued"
        RUNNING = "running"
        READY = "ready"
        FAILED = "failed"
        GONE = "gone"

    org = models.ForeignKey(Organization, on_delete=models.CASCADE, related_name="+")
    requested_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    state = models.CharField(max_length=8, choices=State.choices, default=State.QUEUED)
    tables_done = models.PositiveIntegerField(default=0)
    tables_total = models.PositiveIntegerField(default=0)
    rows = models.BigIntegerField(default=0)
    size_bytes = models.BigIntegerField(default=0)
    failure = models.CharField(max_length=300, blank=True)
    # When its worker last said that it lives; one that is silent is dead, and the work is begun anew.
    seen_at = models.DateTimeField(default=now)
    attempts = models.PositiveSmallIntegerField(default=0)
    finished_at = models.DateTimeField(null=True, blank=True)
    expires_at = models.DateTimeField(null=True, blank=True)
    downloads = models.PositiveIntegerField(default=0)

    class Meta(OrgScopedModel.Meta):
        ordering = ("-created_at",)
        verbose_name = "export of an organisation"
        verbose_name_plural = "exports of organisations"
        constraints = (
            models.UniqueConstraint(
                fields=["org"],
                condition=models.Q(state__in=["queued", "running"]),
                name="accounts_export_one_at_a_time",
            ),
        )

    def __str__(self) -> str:
        return f"{self.state}, {self.rows} rows"


class OrgTombstone(models.Model):
    """What is left of an organisation that was erased: its id, when, and how many rows of which table went."""

    id = models.UUIDField(primary_key=True, editable=False)
    deleted_at = models.DateTimeField()
    started_at = models.DateTimeField(default=now)
    erased_at = models.DateTimeField(null=True, blank=True)
    counts = models.JSONField(default=dict)

    class Meta:
        ordering = ("-started_at",)
        verbose_name = "erased organisation"

    def __str__(self) -> str:
        return str(self.pk)


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
        # The address where whoever asks has read the person along; never a query of its own.
        return f"{self._state.fields_cache.get('user') or self.user_id}, {self.role}"


class AccessReview(TimestampedModel, OrgScopedModel):
    """Somebody has looked through who can do what: when, with what in sight (kind → number), and when again."""

    org = models.ForeignKey(Organization, on_delete=models.CASCADE, related_name="+")
    reviewer = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="+")
    note = models.CharField(max_length=500, blank=True)
    counts = models.JSONField(default=dict)
    next_due = models.DateField()

    class Meta(OrgScopedModel.Meta):
        ordering = ("-created_at",)
        indexes = (models.Index(fields=["org", "-created_at"], name="accounts_access_review_last"),)

    def __str__(self) -> str:
        return f"{self.created_at:%Y-%m-%d}"


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
