"""Sums: what is not folded yet, and the minute, quarter-hour, day and session tables it is folded into."""

from django.contrib.postgres.fields import ArrayField
from django.db import models

from apps.usage.models.base import OrgSurrogateManager

__all__ = [
    "RollupDay",
    "RollupDayWhat",
    "RollupDayWho",
    "RollupDelta",
    "RollupMinute",
    "RollupQuarter",
    "Session",
    "SessionDelta",
    "SessionPart",
]


class Measures(models.Model):
    """What is summed. Calls, tool calls and errors follow from ``events`` and the dimensions in ``what``.

    The tables have no key: rows add up. Django wants one to be named, so each model names its time.
    """

    org = models.IntegerField()
    events = models.IntegerField()
    input_tokens = models.BigIntegerField()
    output_tokens = models.BigIntegerField()
    cache_read_tokens = models.BigIntegerField()
    cache_write_5m_tokens = models.BigIntegerField()
    cache_write_1h_tokens = models.BigIntegerField()
    web_searches = models.IntegerField()
    cost_nano = models.BigIntegerField()
    reported_nano = models.BigIntegerField()
    unpriced = models.IntegerField()
    latency_count = models.IntegerField()
    latency_ms = models.BigIntegerField()
    latency_hist = models.BinaryField()

    objects = OrgSurrogateManager()

    class Meta:
        abstract = True

    def __str__(self) -> str:
        return f"{self.events} events, {self.pk}"


class BothSides(Measures):
    """By who and what."""

    who = models.IntegerField()
    what = models.IntegerField()

    class Meta:
        abstract = True


class RollupDelta(BothSides):
    """Not folded yet: what each flush of the drain appended. A view: an organisation's minute is one row behind it."""

    minute = models.DateTimeField(primary_key=True)

    class Meta:
        managed = False
        db_table = "usage_delta"


class RollupMinute(BothSides):
    """By minute, kept 35 days."""

    bucket = models.DateTimeField(primary_key=True)

    class Meta:
        managed = False
        db_table = "usage_rollup_minute"


class RollupQuarter(BothSides):
    """By quarter of an hour, kept for ever: any time zone's day is made of them."""

    bucket = models.DateTimeField(primary_key=True)

    class Meta:
        managed = False
        db_table = "usage_rollup_quarter"


class RollupDay(BothSides):
    """By day in the organisation's time zone, kept for ever."""

    day = models.DateField(primary_key=True)

    class Meta:
        managed = False
        db_table = "usage_rollup_day"


class RollupDayWhat(Measures):
    """The same without who: for questions that name nobody."""

    day = models.DateField(primary_key=True)
    what = models.IntegerField()

    class Meta:
        managed = False
        db_table = "usage_rollup_day_what"


class RollupDayWho(Measures):
    """The same without what, but for what calls and errors are told by."""

    day = models.DateField(primary_key=True)
    who = models.IntegerField()
    event_type = models.TextField()
    status = models.TextField()

    class Meta:
        managed = False
        db_table = "usage_rollup_day_who"


class SessionMeasures(models.Model):
    org = models.IntegerField()
    who = models.IntegerField()
    started_at = models.DateTimeField()
    last_at = models.DateTimeField()
    events = models.IntegerField()
    calls = models.IntegerField()
    tool_calls = models.IntegerField()
    errors = models.IntegerField()
    input_tokens = models.BigIntegerField()
    output_tokens = models.BigIntegerField()
    cache_read_tokens = models.BigIntegerField()
    cache_write_tokens = models.BigIntegerField()
    cost_nano = models.BigIntegerField()

    objects = OrgSurrogateManager()

    class Meta:
        abstract = True


class Session(SessionMeasures):
    """A session; ``id`` is a 63-bit hash of its name within the organisation, as raw events carry it.

    ``mixed`` is not 0 where several whos were seen in it: then it may have parts.
    """

    id = models.BigIntegerField(primary_key=True)
    session_id = models.TextField()
    mixed = models.SmallIntegerField()
    whos = ArrayField(models.IntegerField(), null=True)
    models = ArrayField(models.TextField())

    class Meta:
        managed = False
        db_table = "usage_session"

    def __str__(self) -> str:
        return self.session_id


class SessionPart(SessionMeasures):
    """What one project has in a session that several used; together they are the session. Others have no parts."""

    session = models.BigIntegerField(primary_key=True)
    project = models.UUIDField()
    models = ArrayField(models.TextField())

    class Meta:
        managed = False
        db_table = "usage_session_part"

    def __str__(self) -> str:
        return f"{self.events} events of {self.project}"


class SessionDelta(SessionMeasures):
    """Sessions' sums not folded yet."""

    session = models.BigIntegerField(primary_key=True)
    session_id = models.TextField()
    whos = ArrayField(models.IntegerField(), null=True)
    models = ArrayField(models.TextField())

    class Meta:
        managed = False
        db_table = "usage_session_delta"

    def __str__(self) -> str:
        return self.session_id
