"""Entries are found by the address they came from, which stays sealed."""

from django.db import migrations

FORWARD = """
ALTER TABLE audit_entry ADD COLUMN ip_mark bytea NULL;
CREATE INDEX audit_entry_org_ip ON audit_entry (org_id, ip_mark, occurred_at DESC, id DESC) WHERE ip_mark IS NOT NULL;
"""
BACK = """
DROP INDEX audit_entry_org_ip;
ALTER TABLE audit_entry DROP COLUMN ip_mark;
"""


class Migration(migrations.Migration):
    dependencies = [("audit", "0003_streams")]

    operations = [migrations.RunSQL(FORWARD, BACK)]
