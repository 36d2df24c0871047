"""The book of prices."""

from django.db import models

from apps.core.basemodels import TimestampedModel

__all__ = ["Price", "PriceBookVersion"]


def _money(help_text: str) -> "models.DecimalField[object, object]":
    return models.DecimalField(max_digits=24, decimal_places=12, help_text=help_text)


class Price(TimestampedModel):
    """What a model costs from ``valid_from`` until before ``valid_to``; of one organisation, or the list price of all.

    ``multipliers`` maps ``batch``, ``geo:<where>``, ``speed:<how>`` and ``context:<band>`` to decimal strings.
    """

    org = models.ForeignKey(
        "accounts.Organization", on_delete=models.CASCADE, null=True, blank=True, related_name="+",
        help_text="Empty: the list price.",
    )  # fmt: skip
    model = models.CharField(max_length=200)
    valid_from = models.DateTimeField()
    valid_to = models.DateTimeField(null=True, blank=True)
    input = _money("USD per million tokens")
    output = _money("USD per million tokens")
    cache_write_5m = _money("USD per million tokens")
    cache_write_1h = _money("USD per million tokens")
    cache_read = _money("USD per million tokens")
    web_search = _money("USD per request")
    multipliers = models.JSONField(default=dict, blank=True)
    source = models.CharField(max_length=200)

    class Meta:
        ordering = ("model", "-valid_from")
        constraints = (
            models.UniqueConstraint(
                fields=["org", "model", "valid_from"], name="usage_price_unique", nulls_distinct=False
            ),
            models.CheckConstraint(
                condition=models.Q(valid_to__isnull=True) | models.Q(valid_to__gt=models.F("valid_from")),
                name="usage_price_period",
            ),
            models.CheckConstraint(
                condition=models.Q(
                    input__gte=0, output__gte=0, cache_write_5m__gte=0, cache_write_1h__gte=0, cache_read__gte=0,
                    web_search__gte=0,
                ),
                name="usage_price_not_negative",
            ),
        )  # fmt: skip

    def __str__(self) -> str:
        return f"{self.model} from {self.valid_from:%Y-%m-%d}"


class PriceBookVersion(models.Model):
    """One row that counts the changes of the book, so that processes know when to read it again."""

    version = models.PositiveBigIntegerField(default=0)
    changed_at = models.DateTimeField(auto_now=True)

    class Meta:
        constraints = (models.CheckConstraint(condition=models.Q(id=1), name="usage_price_book_one_row"),)

    def __str__(self) -> str:
        return str(self.version)
