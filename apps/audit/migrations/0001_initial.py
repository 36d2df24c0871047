from django.db import migrations, models

import apps.core.clock
import apps.core.ids

TABLE = """
CREATE SEQUENCE audit_entry_seq;
CREATE TABLE audit_entry (
    id uuid NOT NULL DEFAULT uuidv7(),
    seq bigint NOT NULL DEFAULT nextval('audit_entry_seq'),
    xid xid8 NOT NULL DEFAULT pg_current_xact_id(),
    occurred_at timestamptz NOT NULL,
    org_id uuid NULL,
    action text NOT NULL,
    actor_kind text NOT NULL,
    actor_id uuid NULL,
    actor_label text NOT NULL,
    impersonator_id uuid NULL,
    ip inet NULL,
    user_agent text NOT NULL,
    correlation_id text NOT NULL,
    target_type text NOT NULL,
    target_id text NOT NULL,
    target_label text NOT NULL,
    changes jsonb NOT NULL,
    reason text NOT NULL,
    PRIMARY KEY (id, occurred_at)
) PARTITION BY RANGE (occurred_at);
ALTER SEQUENCE audit_entry_seq OWNED BY audit_entry.seq;
CREATE INDEX audit_entry_time ON audit_entry (occurred_at DESC, id DESC);
CREATE INDEX audit_entry_org ON audit_entry (org_id, occurred_at DESC, id DESC);
CREATE INDEX audit_entry_org_action ON audit_entry (org_id, action, occurred_at DESC, id DESC);
CREATE INDEX audit_entry_actor ON audit_entry (actor_id, occurred_at DESC, id DESC);
CREATE INDEX audit_entry_target ON audit_entry (target_type, target_id, occurred_at DESC, id DESC);
CREATE INDEX audit_entry_correlation ON audit_entry (correlation_id);
CREATE INDEX audit_entry_seq_idx ON audit_entry (seq);

CREATE FUNCTION audit_refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the audit trail only grows: % of % is refused', TG_OP, TG_TABLE_NAME
        USING ERRCODE = 'insufficient_privilege';
END $$;
CREATE TRIGGER audit_no_change BEFORE UPDATE OR DELETE ON audit_entry
    FOR EACH ROW EXECUTE FUNCTION audit_refuse_change();
CREATE TRIGGER audit_no_truncate BEFORE TRUNCATE ON audit_entry
    FOR EACH STATEMENT EXECUTE FUNCTION audit_refuse_change();
CREATE TABLE audit_entry_default PARTITION OF audit_entry DEFAULT;
CREATE TRIGGER audit_no_truncate BEFORE TRUNCATE ON audit_entry_default
    FOR EACH STATEMENT EXECUTE FUNCTION audit_refuse_change();
"""

# The sequence belongs to a column and goes with the table.
DROP = "DROP TABLE audit_entry; DROP FUNCTION audit_refuse_change();"

GUARD_PARTITION = (
    "CREATE TRIGGER audit_no_truncate BEFORE TRUNCATE ON {partition}"
    " FOR EACH STATEMENT EXECUTE FUNCTION audit_refuse_change()"
)


def make_partitions(apps, schema_editor):
    from apps.core.partitions import ensure_partitions

    ensure_partitions(
        "audit_entry", period="month", ahead=12, each=[GUARD_PARTITION], using=schema_editor.connection.alias
    )


class Migration(migrations.Migration):
    initial = True
    dependencies = []

    operations = [
        migrations.RunSQL(TABLE, DROP),
        migrations.RunPython(make_partitions, migrations.RunPython.noop),
        migrations.CreateModel(
            name="AuditEntry",
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
                ("occurred_at", models.DateTimeField(default=apps.core.clock.now)),
                ("org_id", models.UUIDField(null=True)),
                ("action", models.TextField()),
                ("actor_kind", models.TextField()),
                ("actor_id", models.UUIDField(null=True)),
                ("actor_label", models.TextField(blank=True, default="")),
                ("impersonator_id", models.UUIDField(null=True)),
                ("ip", models.GenericIPAddressField(null=True)),
                ("user_agent", models.TextField(blank=True, default="")),
                ("correlation_id", models.TextField()),
                ("target_type", models.TextField()),
                ("target_id", models.TextField()),
                ("target_label", models.TextField(blank=True, default="")),
                ("changes", models.JSONField(default=dict)),
                ("reason", models.TextField(blank=True, default="")),
            ],
            options={
                "verbose_name": "audit entry",
                "verbose_name_plural": "audit entries",
                "db_table": "audit_entry",
                "abstract": False,
                "base_manager_name": "objects",
                "default_manager_name": "objects",
                "managed": False,
            },
        ),
    ]
