"""The addresses that entries of before tell of: a step of its own that locks nothing, whatever the size of the trail."""

import hmac
import ipaddress
import json
from uuid import UUID

from cryptography.exceptions import InvalidTag
from django.db import migrations

# One entry of each mark is enough to know its address.
KNOWN = """
SELECT DISTINCT ON (org_id, ip_mark) org_id, ip_mark, id, sealed::text,
    (max(occurred_at) OVER (PARTITION BY org_id, ip_mark))::date
FROM audit_entry WHERE ip_mark IS NOT NULL AND org_id IS NOT NULL ORDER BY org_id, ip_mark, occurred_at DESC
"""


def note_known(apps, schema_editor):
    """What stands in entries that were written before; those of erased people stay without. Twice is harmless."""
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
                address = address_in(entry_id, box)
                if address and org_id in markers:
                    mark = hmac.digest(markers[org_id], address.encode(), "sha256")[:16]
                    cursor.execute(
                        "INSERT INTO audit_address VALUES (%s, %s, %s, %s, %s) ON CONFLICT DO NOTHING",
                        [org_id, mark, bytes(ip_mark), box["key"], seen_on],
                    )


def address_in(entry_id, box):
    """The address in a box, in the one form that marks are made of; None where there is none or it cannot be opened."""
    from apps.audit.keys import open_keys
    from apps.audit.sealed import open_box

    try:
        opened = open_box(entry_id, box, open_keys([UUID(box["key"])]))
    except (InvalidTag, ValueError):
        # An entry that somebody changed: `audit_verify` tells of it.
        return None
    ip = json.loads(opened[1]).get("ip") if opened else None
    if not ip:
        return None
    try:
        found = ipaddress.ip_address(ip.strip())
    except ValueError:
        return None
    return str(getattr(found, "ipv4_mapped", None) or found)


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("audit", "0008_who_was_at_an_address")]

    operations = [migrations.RunPython(note_known, migrations.RunPython.noop)]
