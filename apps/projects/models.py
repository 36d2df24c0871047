"""Projects and the API keys that machines use."""

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.db import models

from apps.core.basemodels import TimestampedModel
from apps.core.clock import now
from apps.core.crypto import EncryptedTextField
from apps.core.tenancy import OrgScopedModel
from apps.projects.contracts import PROJECT_RIGHTS
from apps.projects.grant_models import ProjectTeamObjectPermission, ProjectUserObjectPermission

__all__ = [
    "ApiKey",
    "KeyPolicy",
    "Project",
    "ProjectSettings",
    "ProjectTeamObjectPermission",
    "ProjectUserObjectPermission",
    "RejectedKey",
    "default_environments",
]


def default_environments() -> list[str]:
    """What a project has until somebody says otherwise."""
    return ["production", "staging", "development"]


class Project(TimestampedModel, OrgScopedModel):
    """What usage is for; API keys belong to one."""

    org = models.ForeignKey("accounts.Organization", on_delete=models.CASCADE, related_name="+")
    name = models.CharField(max_length=120)
    slug = models.SlugField(max_length=60)
    team = models.ForeignKey("teams.Team", on_delete=models.SET_NULL, null=True, blank=True, related_name="+")
    archived_at = models.DateTimeField(null=True, blank=True)

    class Meta(OrgScopedModel.Meta):
        ordering = ("name",)
        permissions = PROJECT_RIGHTS.model_permissions()
        constraints = (
            models.UniqueConstraint(fields=["org", "slug"], name="projects_project_slug_unique"),
            models.UniqueConstraint(fields=["org", "id"], name="projects_project_org_id"),
        )

    def __str__(self) -> str:
        return self.name


class ApiKey(TimestampedModel, OrgScopedModel):
    """A key: shown once, kept as a peppered digest. ``prefix`` is enough to recognise it and useless to use it."""

    org = models.ForeignKey("accounts.Organization", on_delete=models.CASCADE, related_name="+")
    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="keys")
    name = models.CharField(max_length=120)
    prefix = models.CharField(max_length=12, db_index=True)
    digest = models.BinaryField(unique=True, max_length=32)
    scopes = ArrayField(models.CharField(max_length=20))
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, blank=True, related_name="+"
    )
    team = models.ForeignKey("teams.Team", on_delete=models.SET_NULL, null=True, blank=True, related_name="+")
    created_by_id = models.UUIDField(null=True, blank=True, editable=False)
    expires_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)
    last_used_at = models.DateTimeField(null=True, blank=True)
    last_used_ip = models.GenericIPAddressField(null=True, blank=True)
    last_used_agent = models.CharField(max_length=300, blank=True, default="")
    # Empty: one of no environment; else one of its project's settings.
    environment = models.CharField(max_length=40, blank=True, default="")
    # Networks in CIDR form from which it may be used; empty: from everywhere.
    allowed_ips = ArrayField(models.CharField(max_length=43), default=list, blank=True)
    replaced_by_id = models.UUIDField(null=True, blank=True, editable=False)
    # The last reminder that it ends: so many days before.
    reminded_days = models.PositiveSmallIntegerField(null=True, blank=True, editable=False)
    leaked_at = models.DateTimeField(null=True, blank=True)
    # Which pepper the digest was made under (``crypto.pepper_id``); empty where it has not been used since it is noted.
    pepper = models.CharField(max_length=8, blank=True, default="", editable=False)
    rate_limit_per_minute = models.PositiveIntegerField(
        null=True, blank=True, help_text="Empty: the default limit. 0: no limit."
    )

    class Meta(OrgScopedModel.Meta):
        ordering = ("-created_at",)
        verbose_name = "API key"

    def __str__(self) -> str:
        return f"{self.name} ({self.prefix}…)"


class RejectedKey(OrgScopedModel):
    """How often a key was refused, dead or mistyped: telemetry clients drop a 401 silently, so we tell the admin.

    ``reason`` is revoked, expired, archived, suspended, ``address`` where it was used from elsewhere than it may, or
    ``mistyped`` for a wrong key with the prefix of this one.
    """

    org = models.ForeignKey("accounts.Organization", on_delete=models.CASCADE, related_name="+")
    key = models.OneToOneField(ApiKey, on_delete=models.CASCADE, related_name="rejections", primary_key=True)
    reason = models.CharField(max_length=12)
    count = models.PositiveBigIntegerField(default=0)
    last_at = models.DateTimeField(default=now)
    last_ip = models.GenericIPAddressField(null=True, blank=True)

    class Meta(OrgScopedModel.Meta):
        pass

    def __str__(self) -> str:
        return f"{self.key_id}: {self.count}"


class ProjectSettings(OrgScopedModel):
    """What a project asks of its events at ingest, and its environments; a project without a row has the defaults.

    What each means is said by :class:`apps.projects.contracts.ProjectSettingsInfo`.
    """

    class Outside(models.TextChoices):
        REPORT = "report"
        REFUSE = "refuse"

    class Metadata(models.TextChoices):
        KEEP = "keep"
        TAGS = "tags"
        DROP = "drop"

    project = models.OneToOneField(Project, on_delete=models.CASCADE, related_name="settings", primary_key=True)
    org = models.ForeignKey("accounts.Organization", on_delete=models.CASCADE, related_name="+")
    version = models.PositiveIntegerField(default=0)
    updated_at = models.DateTimeField(auto_now=True)
    allowed_models = ArrayField(models.CharField(max_length=200), default=list, blank=True)
    allowed_sources = ArrayField(models.CharField(max_length=64), default=list, blank=True)
    outside = models.CharField(max_length=6, choices=Outside.choices, default=Outside.REPORT)
    raw_retention_days = models.PositiveSmallIntegerField(null=True, blank=True)
    metadata = models.CharField(max_length=4, choices=Metadata.choices, default=Metadata.KEEP)
    metadata_drop = ArrayField(models.CharField(max_length=100), default=list, blank=True)
    metadata_hash = ArrayField(models.CharField(max_length=100), default=list, blank=True)
    # What values are hashed with: of this project alone, and never shown.
    metadata_salt = EncryptedTextField(null=True, blank=True)
    email_attribution = models.BooleanField(default=True)
    default_tags = models.JSONField(default=dict, blank=True)
    environments = ArrayField(models.CharField(max_length=40), default=default_environments, blank=True)

    class Meta(OrgScopedModel.Meta):
        verbose_name_plural = "project settings"

    def __str__(self) -> str:
        return f"settings of {self.project_id}"


class KeyPolicy(OrgScopedModel):
    """What an organisation asks of all its keys; without a row nothing, and what is reported leaked is revoked."""

    class Leaked(models.TextChoices):
        REVOKE = "revoke"
        FLAG = "flag"

    org = models.OneToOneField("accounts.Organization", on_delete=models.CASCADE, related_name="+", primary_key=True)
    version = models.PositiveIntegerField(default=0)
    updated_at = models.DateTimeField(auto_now=True)
    max_life_days = models.PositiveSmallIntegerField(null=True, blank=True)
    leaked_keys = models.CharField(max_length=6, choices=Leaked.choices, default=Leaked.REVOKE)

    class Meta(OrgScopedModel.Meta):
        verbose_name_plural = "key policies"

    def __str__(self) -> str:
        return f"key policy of {self.org_id}"
