"""Teams and who is in them, and who is asked to join the organisation."""

from datetime import datetime

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.db import models

from apps.core.basemodels import TimestampedModel
from apps.core.clock import now
from apps.core.tenancy import OrgScopedModel
from apps.teams.contracts import TEAM_RIGHTS
from apps.teams.grant_models import TeamUserObjectPermission

__all__ = ["Invitation", "Team", "TeamMembership", "TeamUserObjectPermission"]


class Team(TimestampedModel, OrgScopedModel):
    """A group of people whose usage is counted together; it may be part of another, which is part of none."""

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


class Invitation(TimestampedModel, OrgScopedModel):
    """Somebody is asked to join: by the address that their mail went to, with a role and teams, for a time, once.

    Of its token only the digest is kept; sending it again makes a new token and the old one worthless. An address has
    one open invitation of an organisation at most.
    """

    class State(models.TextChoices):
        OPEN = "open"
        EXPIRED = "expired"
        ACCEPTED = "accepted"
        REVOKED = "revoked"

    org = models.ForeignKey("accounts.Organization", on_delete=models.CASCADE, related_name="+")
    email = models.EmailField(max_length=254)
    role = models.CharField(max_length=60)
    # Teams that are gone when it is accepted are left out, so that deleting one asks nobody.
    team_ids = ArrayField(models.UUIDField(), default=list)
    message = models.CharField(max_length=500, blank=True)
    digest = models.BinaryField(unique=True, max_length=32)
    # Whose rights bound the role, at the sending and again at the acceptance; none: staff or the system sent it.
    invited_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, null=True, blank=True, related_name="+"
    )
    sent_at = models.DateTimeField(default=now)
    sendings = models.PositiveSmallIntegerField(default=1)
    expires_at = models.DateTimeField()
    accepted_at = models.DateTimeField(null=True, blank=True)
    accepted_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, blank=True, related_name="+"
    )
    revoked_at = models.DateTimeField(null=True, blank=True)

    class Meta(OrgScopedModel.Meta):
        ordering = ("-created_at",)
        constraints = (
            models.UniqueConstraint(
                fields=["org", "email"],
                condition=models.Q(accepted_at=None, revoked_at=None),
                name="teams_invitation_one_open",
            ),
        )
        indexes = (models.Index(fields=["org", "-created_at"], name="teams_invitation_org"),)

    def __str__(self) -> str:
        return self.email

    def state_at(self, moment: datetime) -> str:
        """What became of it by ``moment``."""
        if self.accepted_at is not None:
            return self.State.ACCEPTED.value
        if self.revoked_at is not None and self.revoked_at < self.expires_at:
            return self.State.REVOKED.value
        return self.State.EXPIRED.value if self.expires_at <= moment else self.State.OPEN.value
