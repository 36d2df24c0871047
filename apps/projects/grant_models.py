"""Rights that single people and teams have on single projects."""

from typing import ClassVar

from django.db import models
from guardian.models import UserObjectPermissionBase
from guardian.models.models import BaseObjectPermission

from apps.accounts.grants import Grant, GrantManager
from apps.core.basemodels import UUIDModel
from apps.core.tenancy import OrgScopedModel

__all__ = ["ProjectTeamObjectPermission", "ProjectUserObjectPermission"]


class ProjectUserObjectPermission(UUIDModel, Grant, OrgScopedModel, UserObjectPermissionBase):
    """One right of a member on one project; it ends with the membership, in the same statement, and the project."""

    org = models.ForeignKey("accounts.Organization", on_delete=models.CASCADE, related_name="+")
    content_object = models.ForeignKey("projects.Project", on_delete=models.CASCADE)

    objects: ClassVar[GrantManager] = GrantManager()

    class Meta(OrgScopedModel.Meta):
        verbose_name = "right of a person on a project"
        verbose_name_plural = "rights of people on projects"
        constraints = (
            models.UniqueConstraint(fields=["content_object", "user", "permission"], name="projects_user_right_unique"),
        )

    def __str__(self) -> str:
        return f"{self.user_id} on {self.content_object_id}"


class ProjectTeamObjectPermission(UUIDModel, Grant, OrgScopedModel, BaseObjectPermission):
    """One right on one project of everybody who is in a team, as long as they are; it ends with the team too."""

    org = models.ForeignKey("accounts.Organization", on_delete=models.CASCADE, related_name="+")
    content_object = models.ForeignKey("projects.Project", on_delete=models.CASCADE, related_name="+")
    team = models.ForeignKey("teams.Team", on_delete=models.CASCADE, related_name="+")

    class Meta(OrgScopedModel.Meta):
        verbose_name = "right of a team on a project"
        verbose_name_plural = "rights of teams on projects"
        constraints = (
            models.UniqueConstraint(fields=["content_object", "team", "permission"], name="projects_team_right_unique"),
        )

    def __str__(self) -> str:
        return f"{self.team_id} on {self.content_object_id}"
