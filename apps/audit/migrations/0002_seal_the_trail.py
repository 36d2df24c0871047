"""The trail is chained, and what it says of people is sealed under keys that can be destroyed."""

from django.db import migrations, models

import apps.core.clock
import apps.core.crypto
import apps.core.ids

TABLES = """
ALTER TABLE audit_entry ADD COLUMN sealed jsonb NOT NULL DEFAULT '[]';
CREATE INDEX audit_entry_xid ON audit_entry (xid, seq);
DROP INDEX audit_entry_seq_idx;

CREATE TABLE audit_key (
    id uuid PRIMARY KEY DEFAULT uuidv7(),
    org_id uuid NULL,
    person_id uuid NULL,
    subject text NOT NULL DEFAULT '',
    sealed_key bytea NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    destroyed_at timestamptz NULL,
    CONSTRAINT audit_key_owner UNIQUE NULLS NOT DISTINCT (org_id, person_id, subject),
    CONSTRAINT audit_key_destroyed CHECK ((sealed_key IS NULL) = (destroyed_at IS NOT NULL))
);
CREATE INDEX audit_key_person ON audit_key (person_id) WHERE person_id IS NOT NULL;
CREATE INDEX audit_key_subject ON audit_key (subject) WHERE subject <> '';

CREATE TABLE audit_seal (
    chain_id uuid NOT NULL,
    position bigint NOT NULL,
    entry_id uuid NOT NULL,
    occurred_at timestamptz NOT NULL,
    digest bytea NOT NULL,
    chain bytea NOT NULL,
    PRIMARY KEY (chain_id, position, occurred_at),
    UNIQUE (entry_id, occurred_at)
) PARTITION BY RANGE (occurred_at);
CREATE TRIGGER audit_no_change BEFORE UPDATE OR DELETE ON audit_seal
    FOR EACH ROW EXECUTE FUNCTION audit_refuse_change();
CREATE TRIGGER audit_no_truncate BEFORE TRUNCATE ON audit_seal
    FOR EACH STATEMENT EXECUTE FUNCTION audit_refuse_change();
CREATE TABLE audit_seal_default PARTITION OF audit_seal DEFAULT;
CREATE TRIGGER audit_no_truncate BEFORE TRUNCATE ON audit_seal_default
    FOR EACH STATEMENT EXECUTE FUNCTION audit_refuse_change();

CREATE TABLE audit_checkpoint (
    id uuid PRIMARY KEY DEFAULT uuidv7(),
    chain_id uuid NOT NULL,
    position bigint NOT NULL,
    kind text NOT NULL,
    digest bytea NOT NULL,
    made_at timestamptz NOT NULL,
    key_id uuid NOT NULL,
    signature bytea NOT NULL,
    UNIQUE (chain_id, position, kind)
);
CREATE INDEX audit_checkpoint_time ON audit_checkpoint (chain_id, made_at);
CREATE TRIGGER audit_no_change BEFORE UPDATE OR DELETE ON audit_checkpoint
    FOR EACH ROW EXECUTE FUNCTION audit_refuse_change();
CREATE TRIGGER audit_no_truncate BEFORE TRUNCATE ON audit_checkpoint
    FOR EACH STATEMENT EXECUTE FUNCTION audit_refuse_change();

CREATE TABLE audit_chain (
    chain_id uuid PRIMARY KEY,
    position bigint NOT NULL,
    digest bytea NOT NULL,
    signed_at timestamptz NOT NULL,
    key_id uuid NOT NULL,
    signature bytea NOT NULL,
    checkpoint_position bigint NOT NULL DEFAULT 0,
    checkpoint_at timestamptz NULL,
    verified_at timestamptz NULL,
    verified_position bigint NULL,
    broken jsonb NULL
);

CREATE TABLE audit_signing_key (
    id uuid PRIMARY KEY DEFAULT uuidv7(),
    public_jwk jsonb NOT NULL,
    private_pem bytea NOT NULL,
    created_at timestamptz NOT NULL,
    retired_at timestamptz NULL
);

CREATE TABLE audit_sealer (
    id smallint PRIMARY KEY DEFAULT 1 CHECK (id = 1),
    xid xid8 NOT NULL,
    seq bigint NOT NULL,
    moved_at timestamptz NOT NULL DEFAULT now()
);
INSERT INTO audit_sealer (xid, seq) VALUES ('0', 0);
"""
DROP = """
DROP TABLE audit_sealer, audit_signing_key, audit_chain, audit_checkpoint, audit_seal, audit_key;
CREATE INDEX audit_entry_seq_idx ON audit_entry (seq);
DROP INDEX audit_entry_xid;
ALTER TABLE audit_entry DROP COLUMN sealed;
"""

GUARD_PARTITION = (
    "CREATE TRIGGER audit_no_truncate BEFORE TRUNCATE ON {partition}"
    " FOR EACH STATEMENT EXECUTE FUNCTION audit_refuse_change()"
)


def make_partitions(apps, schema_editor):
    """As far as the entries': a seal lies in the month of its entry."""
    from apps.core.partitions import ensure_partitions, list_partitions

    using = schema_editor.connection.alias
    oldest = list_partitions("audit_entry", using=using)[0].start.date()
    ensure_partitions("audit_seal", period="month", first=oldest, ahead=24, each=[GUARD_PARTITION], using=using)


def _uuid():
    return models.UUIDField(
        db_default=apps.core.ids.UUID7(),
        default=apps.core.ids.uuid7,
        editable=False,
        primary_key=True,
        serialize=False,
    )


class Migration(migrations.Migration):
    dependencies = [("audit", "0001_initial")]

    operations = [
        migrations.RunSQL(TABLES, DROP),
        migrations.RunPython(make_partitions, migrations.RunPython.noop),
        migrations.CreateModel(
            name="DataKey",
            fields=[
                ("id", _uuid()),
                ("org_id", models.UUIDField(null=True)),
                ("person_id", models.UUIDField(null=True)),
                ("subject", models.TextField(default="")),
                ("created_at", models.DateTimeField(default=apps.core.clock.now)),
                ("destroyed_at", models.DateTimeField(null=True)),
            ],
            options={
                "db_table": "audit_key",
                "managed": False,
                "verbose_name": "data key",
                "abstract": False,
                "base_manager_name": "objects",
                "default_manager_name": "objects",
            },
        ),
        migrations.CreateModel(
            name="Checkpoint",
            fields=[
                ("id", _uuid()),
                ("chain_id", models.UUIDField()),
                ("position", models.BigIntegerField()),
                ("kind", models.TextField()),
                ("digest", models.BinaryField()),
                ("made_at", models.DateTimeField()),
                ("key_id", models.UUIDField()),
                ("signature", models.BinaryField()),
            ],
            options={"db_table": "audit_checkpoint", "managed": False},
        ),
        migrations.CreateModel(
            name="Chain",
            fields=[
                ("chain_id", models.UUIDField(primary_key=True, serialize=False)),
                ("position", models.BigIntegerField()),
                ("digest", models.BinaryField()),
                ("signed_at", models.DateTimeField()),
                ("key_id", models.UUIDField()),
                ("signature", models.BinaryField()),
                ("checkpoint_position", models.BigIntegerField(default=0)),
                ("checkpoint_at", models.DateTimeField(null=True)),
                ("verified_at", models.DateTimeField(null=True)),
                ("verified_position", models.BigIntegerField(null=True)),
                ("broken", models.JSONField(null=True)),
            ],
            options={"db_table": "audit_chain", "managed": False},
        ),
        migrations.CreateModel(
            name="SealingKey",
            fields=[
                ("id", _uuid()),
                ("public_jwk", models.JSONField()),
                ("private_pem", apps.core.crypto.EncryptedTextField()),
                ("created_at", models.DateTimeField(default=apps.core.clock.now)),
                ("retired_at", models.DateTimeField(null=True)),
            ],
            options={"db_table": "audit_signing_key", "managed": False, "ordering": ("-created_at", "-id")},
        ),
    ]
