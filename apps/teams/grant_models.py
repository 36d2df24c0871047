"""Rights that single people have on single teams."""

from typing import ClassVar

from django.db import models
from guardian.models import UserObjectPermissionBase

from apps.accounts.grants import Grant, GrantManager
from apps.core.basemodels import UUIDModel
from apps.core.tenancy import OrgScopedModel

__all__ = ["TeamUserObjectPermission"]


class TeamUserObjectPermission(UUIDModel, Grant, OrgScopedModel, UserObjectPermissionBase):
    """One right of a member on one team. It ends with the membership, in the same statement, and with the team."""

    org = models.ForeignKey("accounts.Organization", on_delete=models.CASCADE, related_name="+")
    content_object = models.ForeignKey("teams.Team", on_delete=models.CASCADE)

    objects: ClassVar[GrantManager] = GrantManager()

    class Meta(OrgScopedModel.Meta):
        verbose_name = "right of a person on a team"
        verbose_name_plural = "rights of people on teams"
        constraints = (
            models.UniqueConstraint(fields=["content_object", "user", "permission"], name="teams_user_right_unique"),
        )

    def __str__(self) -> str:
        return f"{self.user_id} on {self.content_object_id}"
