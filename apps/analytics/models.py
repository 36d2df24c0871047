"""What people keep of analytics: views that they gave a name."""

from django.conf import settings
from django.db import models

from apps.core.basemodels import TimestampedModel
from apps.core.tenancy import OrgScopedModel

__all__ = ["SavedView", "ViewDefault"]


class SavedView(TimestampedModel, OrgScopedModel):
    """The state of a page under a name: private to its owner, or shared with the organisation.

    A shared view outlives its owner's membership and then has none.
    """

    org = models.ForeignKey("accounts.Organization", on_delete=models.CASCADE, related_name="+")
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, blank=True, related_name="+"
    )
    page = models.CharField(max_length=20)
    name = models.CharField(max_length=80)
    query = models.CharField(max_length=2000, blank=True)
    is_shared = models.BooleanField(default=False)

    class Meta(OrgScopedModel.Meta):
        db_table = "analytics_saved_view"
        constraints = (
            models.UniqueConstraint(fields=["org", "owner", "page", "name"], name="analytics_view_name_unique"),
        )

    def __str__(self) -> str:
        return self.name


class ViewDefault(OrgScopedModel):
    """The view that a page opens with for one person, from the navigation."""

    org = models.ForeignKey("accounts.Organization", on_delete=models.CASCADE, related_name="+")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    page = models.CharField(max_length=20)
    view = models.ForeignKey(SavedView, on_delete=models.CASCADE, related_name="defaults")

    class Meta(OrgScopedModel.Meta):
        db_table = "analytics_view_default"
        constraints = (models.UniqueConstraint(fields=["org", "user", "page"], name="analytics_view_default_unique"),)

    def __str__(self) -> str:
        return f"{self.page} of {self.user_id}"
