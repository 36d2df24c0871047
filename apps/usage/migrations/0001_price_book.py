"""The book of prices, with the public list prices that were known when this was written."""

import django.db.models.deletion
from django.db import migrations, models

import apps.core.clock
import apps.core.ids
from apps.usage.pricing.seed import list_prices


def seed(apps_, schema_editor):
    price = apps_.get_model("usage", "Price")
    price.objects.bulk_create([price(**fields) for fields in list_prices()])
    apps_.get_model("usage", "PriceBookVersion").objects.create(id=1, version=1)


class Migration(migrations.Migration):
    initial = True

    dependencies = [("accounts", "0001_initial")]

    operations = [
        migrations.CreateModel(
            name="PriceBookVersion",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("version", models.PositiveBigIntegerField(default=0)),
                ("changed_at", models.DateTimeField(auto_now=True)),
            ],
            options={
                "constraints": [models.CheckConstraint(condition=models.Q(("id", 1)), name="usage_price_book_one_row")],
            },
        ),
        migrations.CreateModel(
            name="Price",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        db_default=apps.core.ids.UUID7(),
                        default=apps.core.ids.uuid7,
                        editable=False,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                ("created_at", models.DateTimeField(default=apps.core.clock.now, editable=False)),
                ("updated_at", models.DateTimeField(auto_now=True)),
                ("model", models.CharField(max_length=200)),
                ("valid_from", models.DateTimeField()),
                ("valid_to", models.DateTimeField(blank=True, null=True)),
                ("input", models.DecimalField(decimal_places=12, help_text="USD per million tokens", max_digits=24)),
                ("output", models.DecimalField(decimal_places=12, help_text="USD per million tokens", max_digits=24)),
                (
                    "cache_write_5m",
                    models.DecimalField(decimal_places=12, help_text="USD per million tokens", max_digits=24),
                ),
                (
                    "cache_write_1h",
                    models.DecimalField(decimal_places=12, help_text="USD per million tokens", max_digits=24),
                ),
                (
                    "cache_read",
                    models.DecimalField(decimal_places=12, help_text="USD per million tokens", max_digits=24),
                ),
                ("web_search", models.DecimalField(decimal_places=12, help_text="USD per request", max_digits=24)),
                ("multipliers", models.JSONField(blank=True, default=dict)),
                ("source", models.CharField(max_length=200)),
                (
                    "org",
                    models.ForeignKey(
                        blank=True,
                        help_text="Empty: the list price.",
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="accounts.organization",
                    ),
                ),
            ],
            options={
                "ordering": ("model", "-valid_from"),
                "constraints": [
                    models.UniqueConstraint(
                        fields=("org", "model", "valid_from"), name="usage_price_unique", nulls_distinct=False
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("valid_to__isnull", True), ("valid_to__gt", models.F("valid_from")), _connector="OR"
                        ),
                        name="usage_price_period",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("cache_read__gte", 0),
                            ("cache_write_1h__gte", 0),
                            ("cache_write_5m__gte", 0),
                            ("input__gte", 0),
                            ("output__gte", 0),
                            ("web_search__gte", 0),
                        ),
                        name="usage_price_not_negative",
                    ),
                ],
            },
        ),
        migrations.RunPython(seed, migrations.RunPython.noop),
    ]
