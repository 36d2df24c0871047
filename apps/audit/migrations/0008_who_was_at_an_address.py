"""Which people of an organisation were seen at an address: found by one look, however many people it has."""

import hmac
import json
from uuid import UUID

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

# One entry of each mark is enough to know its address.
KNOWN = """
SELECT DISTINCT ON (org_id, ip_mark) org_id, ip_mark, id, sealed::text,
    (max(occurred_at) OVER (PARTITION BY org_id, ip_mark))::date
FROM audit_entry WHERE ip_mark IS NOT NULL AND org_id IS NOT NULL ORDER BY org_id, ip_mark, occurred_at DESC
"""


def note_known(apps, schema_editor):
    """What stands in entries that were written before; those of erased people stay without."""
    from apps.audit.keys import open_keys
    from apps.audit.sealed import open_box
    from apps.core.crypto import decrypt

    with schema_editor.connection.cursor() as cursor:
        cursor.execute(KNOWN)
        known = cursor.fetchall()
        if not known:
            return
        cursor.execute(
            "SELECT org_id, sealed_key FROM audit_key"
            " WHERE person_id IS NULL AND subject = '' AND org_id IS NOT NULL AND sealed_key IS NOT NULL"
        )
        markers = {
            org_id: hmac.digest(decrypt(bytes(sealed)), b"mindweave.audit.mark.v1", "sha256")
            for org_id, sealed in cursor.fetchall()
        }
        for org_id, ip_mark, entry_id, sealed, seen_on in known:
            for box in json.loads(sealed):
                opened = open_box(entry_id, box, open_keys([UUID(box["key"])]))
                ip = json.loads(opened[1]).get("ip") if opened else None
                if ip and org_id in markers:
                    mark = hmac.digest(markers[org_id], ip.encode(), "sha256")[:16]
                    cursor.execute(
                        "INSERT INTO audit_address VALUES (%s, %s, %s, %s, %s) ON CONFLICT DO NOTHING",
                        [org_id, mark, bytes(ip_mark), box["key"], seen_on],
                    )


class Migration(migrations.Migration):
    dependencies = [("audit", "0007_stream_of_everything")]

    operations = [
        migrations.RunSQL(FORWARD, BACK),
        migrations.RunPython(note_known, migrations.RunPython.noop),
    ]
