"""Dimensions: small integers that stand for who did it and what it was."""

from django.db import models

from apps.core.clock import now
from apps.core.tenancy import OrgScopedModel
from apps.usage.models.base import OrgSurrogateManager

__all__ = ["DirectoryChange", "Org", "Person", "TagKey", "TagSet", "TagValue", "What", "Who"]


class Org(OrgScopedModel):
    """An organisation's surrogate; ``salt`` keys the mixing of its event ids and never changes.

    ``past_version`` grows whenever sums of a day before yesterday may have changed.
    """

    id = models.IntegerField(primary_key=True)
    org_id = models.UUIDField(unique=True)
    salt = models.BinaryField()
    timezone = models.TextField()
    past_version = models.BigIntegerField()
    created_at = models.DateTimeField()

    class Meta:
        managed = False
        db_table = "usage_org"
        verbose_name = "organisation (usage)"
        verbose_name_plural = "organisations (usage)"

    def __str__(self) -> str:
        return str(self.org_id)


class DirectoryChange(OrgScopedModel):
    """The people or teams of an organisation changed: whoever keeps a copy of them reads it anew.

    Written by the bus, read by every process that takes events in, forgotten within hours.
    """

    id = models.BigAutoField(primary_key=True)
    org_id = models.UUIDField()
    at = models.DateTimeField(default=now)

    class Meta(OrgScopedModel.Meta):
        db_table = "usage_directory_change"
        verbose_name = "change of people"
        verbose_name_plural = "changes of people"

    def __str__(self) -> str:
        return f"{self.org_id} at {self.at:%Y-%m-%d %H:%M:%S}"


class TagSet(models.Model):
    """A combination of tags, ``{"key": "value"}``."""

    id = models.IntegerField(primary_key=True)
    org = models.IntegerField()
    tags = models.JSONField()

    objects = OrgSurrogateManager()

    class Meta:
        managed = False
        db_table = "usage_tagset"

    def __str__(self) -> str:
        return ", ".join(f"{key}={value}" for key, value in self.tags.items())


class Who(models.Model):
    """(org, project, team, person, key, tag set); ``person_id`` is a member's user id or a :class:`Person`'s."""

    id = models.IntegerField(primary_key=True)
    org = models.IntegerField()
    project_id = models.UUIDField(null=True)
    team_id = models.UUIDField(null=True)
    person_id = models.UUIDField(null=True)
    key_id = models.UUIDField(null=True)
    tagset = models.IntegerField(null=True)

    objects = OrgSurrogateManager()

    class Meta:
        managed = False
        db_table = "usage_who"
        verbose_name = "who"
        verbose_name_plural = "who"

    def __str__(self) -> str:
        return str(self.id)


class What(models.Model):
    """(event type, model, price class, MCP server and tool, source, status); "" stands for none. Shared by all orgs."""

    id = models.IntegerField(primary_key=True)
    event_type = models.TextField()
    model = models.TextField()
    service_tier = models.TextField()
    batch = models.BooleanField()
    geo = models.TextField()
    speed = models.TextField()
    context_band = models.TextField()
    mcp_server = models.TextField()
    mcp_tool = models.TextField()
    source = models.TextField()
    status = models.TextField()

    class Meta:
        managed = False
        db_table = "usage_what"
        verbose_name = "what"
        verbose_name_plural = "what"

    def __str__(self) -> str:
        return " ".join(filter(None, (self.event_type, self.model, self.mcp_server, self.mcp_tool, self.status)))


class TagKey(OrgScopedModel):
    """A metadata key that the organisation groups by; at most 20 of them."""

    id = models.UUIDField(primary_key=True)
    org_id = models.UUIDField()
    key = models.TextField()
    created_at = models.DateTimeField()

    class Meta:
        managed = False
        db_table = "usage_tag_key"

    def __str__(self) -> str:
        return self.key


class TagValue(OrgScopedModel):
    """A value seen under a tag key; at most 1,000 of a key, what comes later counts as ``other``."""

    id = models.BigIntegerField(primary_key=True)
    org_id = models.UUIDField()
    key = models.TextField()
    value = models.TextField()

    class Meta:
        managed = False
        db_table = "usage_tag_value"

    def __str__(self) -> str:
        return f"{self.key}={self.value}"


class Person(OrgScopedModel):
    """Somebody telemetry names whom no member's verified address matches; an admin may claim it for a member."""

    id = models.UUIDField(primary_key=True)
    org_id = models.UUIDField()
    email = models.TextField()
    name = models.TextField()
    claimed_by = models.UUIDField(null=True)
    first_seen_at = models.DateTimeField()
    claimed_at = models.DateTimeField(null=True)

    class Meta:
        managed = False
        db_table = "usage_person"
        verbose_name = "unclaimed person"
        verbose_name_plural = "unclaimed people"

    def __str__(self) -> str:
        return self.email or self.name
