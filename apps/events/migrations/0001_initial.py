from django.db import migrations, models

import apps.core.basemodels
import apps.core.clock
import apps.core.ids

# A partitioned table's key holds its partition key; the models know the part of it that Django needs.
OUTBOX = """
CREATE SEQUENCE events_outbox_seq;
CREATE TABLE events_outbox (
    seq bigint NOT NULL DEFAULT nextval('events_outbox_seq'),
    event_id uuid NOT NULL,
    topic text NOT NULL,
    type text NOT NULL,
    key text NOT NULL,
    org_id uuid NULL,
    envelope jsonb NOT NULL,
    published_at timestamptz NOT NULL,
    relayed boolean NOT NULL DEFAULT false,
    PRIMARY KEY (seq, published_at)
) PARTITION BY RANGE (published_at);
ALTER SEQUENCE events_outbox_seq OWNED BY events_outbox.seq;
CREATE TABLE events_outbox_default PARTITION OF events_outbox DEFAULT;
CREATE INDEX events_outbox_waiting ON events_outbox (seq) WHERE NOT relayed;
CREATE INDEX events_outbox_org ON events_outbox (org_id, published_at);
CREATE INDEX events_outbox_type ON events_outbox (type, published_at);
"""

PROCESSED = """
CREATE TABLE events_processed (
    published_on date NOT NULL,
    subscription text NOT NULL,
    event_id uuid NOT NULL,
    processed_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (published_on, subscription, event_id)
) PARTITION BY RANGE (published_on);
CREATE TABLE events_processed_default PARTITION OF events_processed DEFAULT;
"""


def make_partitions(apps, schema_editor):
    from apps.core.partitions import ensure_partitions

    for table in ("events_outbox", "events_processed"):
        ensure_partitions(table, period="day", ahead=7, using=schema_editor.connection.alias)


class Migration(migrations.Migration):
    initial = True
    dependencies = []

    operations = [
        migrations.CreateModel(
            name="SubscriptionState",
            fields=[
                ("name", models.TextField(primary_key=True, serialize=False)),
                ("types", models.JSONField(default=list)),
                ("is_paused", models.BooleanField(default=False)),
                ("running", models.JSONField(default=dict)),
                ("last_delivered_at", models.DateTimeField(null=True)),
            ],
            options={"verbose_name": "subscription", "db_table": "events_subscription"},
        ),
        migrations.CreateModel(
            name="Delivery",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("subscription", models.TextField()),
                ("event_id", models.UUIDField()),
                ("topic", models.TextField()),
                ("key", models.TextField()),
                ("envelope", models.JSONField()),
                (
                    "state",
                    models.TextField(
                        choices=[("ready", "Ready"), ("retrying", "Retrying"), ("parked", "Parked")], default="ready"
                    ),
                ),
                ("attempts", models.PositiveSmallIntegerField(default=0)),
                ("due_at", models.DateTimeField(null=True)),
                ("error", models.TextField(blank=True, default="")),
                ("created_at", models.DateTimeField(default=apps.core.clock.now)),
            ],
            options={
                "verbose_name_plural": "deliveries",
                "db_table": "events_delivery",
                "indexes": [
                    models.Index("subscription", "id", condition=models.Q(state="ready"), name="events_delivery_ready"),
                    models.Index(
                        "subscription", "due_at", condition=models.Q(state="retrying"), name="events_delivery_retry"
                    ),
                    models.Index(
                        "subscription", "key", condition=models.Q(state="parked"), name="events_delivery_parked"
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="DeadLetter",
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
                ("subscription", models.TextField()),
                ("event_id", models.UUIDField()),
                ("type", models.TextField()),
                ("topic", models.TextField()),
                ("key", models.TextField()),
                ("org_id", models.UUIDField(null=True)),
                ("envelope", models.JSONField()),
                ("attempts", models.PositiveSmallIntegerField()),
                ("error", models.TextField()),
                (
                    "status",
                    models.TextField(
                        choices=[("open", "Open"), ("replayed", "Replayed"), ("discarded", "Discarded")],
                        default="open",
                    ),
                ),
                ("created_at", models.DateTimeField(default=apps.core.clock.now)),
                ("resolved_at", models.DateTimeField(null=True)),
                ("resolved_by", models.TextField(blank=True, default="")),
            ],
            options={
                "db_table": "events_dead_letter",
                "abstract": False,
                "base_manager_name": "objects",
                "default_manager_name": "objects",
                "indexes": [
                    models.Index(
                        "subscription", "created_at", condition=models.Q(status="open"), name="events_dead_open"
                    )
                ],
            },
        ),
        migrations.SeparateDatabaseAndState(
            database_operations=[
                migrations.RunSQL(OUTBOX, "DROP TABLE events_outbox"),
                migrations.RunSQL(PROCESSED, "DROP TABLE events_processed"),
                migrations.RunPython(make_partitions, migrations.RunPython.noop),
            ],
            state_operations=[
                migrations.CreateModel(
                    name="OutboxEvent",
                    fields=[
                        ("seq", models.BigIntegerField(editable=False, primary_key=True, serialize=False)),
                        ("event_id", models.UUIDField()),
                        ("topic", models.TextField()),
                        ("type", models.TextField()),
                        ("key", models.TextField()),
                        ("org_id", models.UUIDField(null=True)),
                        ("envelope", models.JSONField()),
                        ("published_at", models.DateTimeField()),
                        ("relayed", models.BooleanField(default=False)),
                    ],
                    options={
                        "verbose_name": "event",
                        "db_table": "events_outbox",
                        "abstract": False,
                        "base_manager_name": "objects",
                        "default_manager_name": "objects",
                    },
                ),
                migrations.CreateModel(
                    name="Processed",
                    fields=[
                        ("event_id", models.UUIDField(primary_key=True, serialize=False)),
                        ("subscription", models.TextField()),
                        ("published_on", models.DateField()),
                        ("processed_at", models.DateTimeField(default=apps.core.clock.now)),
                    ],
                    options={"verbose_name_plural": "processed", "db_table": "events_processed"},
                ),
            ],
        ),
    ]
