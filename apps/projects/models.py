"""Projects and the API keys that machines use."""

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.db import models

from apps.core.basemodels import TimestampedModel
from apps.core.clock import now
from apps.core.tenancy import OrgScopedModel
from apps.projects.contracts import PROJECT_RIGHTS
from apps.projects.grant_models import ProjectTeamObjectPermission, ProjectUserObjectPermission

__all__ = ["ApiKey", "Project", "ProjectTeamObjectPermission", "ProjectUserObjectPermission", "RejectedKey"]


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

    ``reason`` is revoked, expired, archived, suspended, or ``mistyped`` for a wrong key with the prefix of this one.
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
