"""An organisation may keep its log for less than the system does. The database lets go what is over, and no more."""

from django.db import migrations, models

import apps.core.clock
import apps.core.ids

# What the database asks of a deletion: that the organisation's own time is over for the entry, and that a checkpoint
# behind which the chain goes on verifying was signed before. Whoever deletes without our signing key is found out.
FORWARD = """
CREATE FUNCTION audit_is_over(chain uuid, place bigint, moment timestamptz) RETURNS boolean LANGUAGE sql STABLE AS $$
    SELECT EXISTS (SELECT 1 FROM audit_retention r WHERE r.org_id = chain AND moment < now() - make_interval(days => r.days))
       AND EXISTS (SELECT 1 FROM audit_checkpoint c WHERE c.chain_id = chain AND c.kind = 'close' AND c.position >= place)
$$;
CREATE FUNCTION audit_let_entry_go() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE place bigint;
BEGIN
    SELECT s.position INTO place FROM audit_seal s WHERE s.entry_id = OLD.id AND s.occurred_at = OLD.occurred_at;
    IF OLD.org_id IS NOT NULL AND place IS NOT NULL AND audit_is_over(OLD.org_id, place, OLD.occurred_at) THEN
        RETURN OLD;
    END IF;
    RAISE EXCEPTION 'the audit trail only grows: % of % is refused', TG_OP, TG_TABLE_NAME
        USING ERRCODE = 'insufficient_privilege';
END $$;
CREATE FUNCTION audit_let_seal_go() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF audit_is_over(OLD.chain_id, OLD.position, OLD.occurred_at) THEN RETURN OLD; END IF;
    RAISE EXCEPTION 'the audit trail only grows: % of % is refused', TG_OP, TG_TABLE_NAME
        USING ERRCODE = 'insufficient_privilege';
END $$;
DROP TRIGGER audit_no_change ON audit_entry;
DROP TRIGGER audit_no_change ON audit_seal;
CREATE TRIGGER audit_no_change BEFORE UPDATE ON audit_entry FOR EACH ROW EXECUTE FUNCTION audit_refuse_change();
CREATE TRIGGER audit_no_change BEFORE UPDATE ON audit_seal FOR EACH ROW EXECUTE FUNCTION audit_refuse_change();
CREATE TRIGGER audit_no_delete BEFORE DELETE ON audit_entry FOR EACH ROW EXECUTE FUNCTION audit_let_entry_go();
CREATE TRIGGER audit_no_delete BEFORE DELETE ON audit_seal FOR EACH ROW EXECUTE FUNCTION audit_let_seal_go();
"""
BACK = """
DROP TRIGGER audit_no_delete ON audit_entry;
DROP TRIGGER audit_no_delete ON audit_seal;
DROP TRIGGER audit_no_change ON audit_entry;
DROP TRIGGER audit_no_change ON audit_seal;
CREATE TRIGGER audit_no_change BEFORE UPDATE OR DELETE ON audit_entry
    FOR EACH ROW EXECUTE FUNCTION audit_refuse_change();
CREATE TRIGGER audit_no_change BEFORE UPDATE OR DELETE ON audit_seal
    FOR EACH ROW EXECUTE FUNCTION audit_refuse_change();
DROP FUNCTION audit_let_entry_go();
DROP FUNCTION audit_let_seal_go();
DROP FUNCTION audit_is_over(uuid, bigint, timestamptz);
"""


class Migration(migrations.Migration):
    dependencies = [("audit", "0005_exports")]

    operations = [
        migrations.CreateModel(
            name="AuditRetention",
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
                ("org_id", models.UUIDField(unique=True)),
                ("days", models.PositiveSmallIntegerField()),
            ],
            options={
                "db_table": "audit_retention",
                "abstract": False,
                "base_manager_name": "objects",
                "default_manager_name": "objects",
                "verbose_name": "retention of an organisation's log",
                "verbose_name_plural": "retentions of organisations' logs",
                "constraints": [
                    models.CheckConstraint(condition=models.Q(("days__gte", 30)), name="audit_retention_least")
                ],
            },
        ),
        migrations.RunSQL(FORWARD, BACK),
    ]
