"""Teams and who is in them."""

from django.conf import settings
from django.db import models

from apps.core.basemodels import TimestampedModel
from apps.core.tenancy import OrgScopedModel
from apps.teams.contracts import TEAM_RIGHTS
from apps.teams.grant_models import TeamUserObjectPermission

__all__ = ["Team", "TeamMembership", "TeamUserObjectPermission"]


class Team(TimestampedModel, OrgScopedModel):
    """A group of people whose usage is counted together; teams may be nested."""

    org = models.ForeignKey("accounts.Organization", on_delete=models.CASCADE, related_name="+")
    name = models.CharField(max_length=120)
    slug = models.SlugField(max_length=60)
    parent = models.ForeignKey("self", on_delete=models.SET_NULL, null=True, blank=True, related_name="children")

    class Meta(OrgScopedModel.Meta):
        ordering = ("name",)
        permissions = TEAM_RIGHTS.model_permissions()
        constraints = (
            models.UniqueConstraint(fields=["org", "slug"], name="teams_team_slug_unique"),
            models.UniqueConstraint(fields=["org", "id"], name="teams_team_org_id"),
        )

    def __str__(self) -> str:
        return self.name


class TeamMembership(TimestampedModel, OrgScopedModel):
    """A person in a team; one of a person's teams is their primary one, which usage falls to."""

    org = models.ForeignKey("accounts.Organization", on_delete=models.CASCADE, related_name="+")
    team = models.ForeignKey(Team, on_delete=models.CASCADE, related_name="memberships")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    is_primary = models.BooleanField(default=False)

    class Meta(OrgScopedModel.Meta):
        constraints = (
            models.UniqueConstraint(fields=["team", "user"], name="teams_membership_unique"),
            models.UniqueConstraint(
                fields=["org", "user"], condition=models.Q(is_primary=True), name="teams_membership_one_primary"
            ),
        )

    def __str__(self) -> str:
        return f"{self.user_id} in {self.team_id}"
