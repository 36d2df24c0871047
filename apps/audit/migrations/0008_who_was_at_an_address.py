"""Which people of an organisation were seen at an address: found by one look, however many people it has."""

from django.db import migrations

FORWARD = """
CREATE TABLE audit_address (
    org_id uuid NOT NULL,
    mark bytea NOT NULL,
    ip_mark bytea NOT NULL,
    key_id uuid NOT NULL REFERENCES audit_key ON DELETE CASCADE,
    seen_on date NOT NULL,
    PRIMARY KEY (org_id, mark, ip_mark)
);
CREATE INDEX audit_address_key ON audit_address (key_id);
"""
BACK = "DROP TABLE audit_address;"


class Migration(migrations.Migration):
    dependencies = [("audit", "0007_stream_of_everything")]

    operations = [migrations.RunSQL(FORWARD, BACK)]
