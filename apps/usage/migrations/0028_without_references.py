"""Whos and sessions without references.

The drain alone makes them, of numbers that it has just read, and each reference of each row was a query more.
"""

from django.db import migrations

DROP = (
    "ALTER TABLE usage_session DROP CONSTRAINT IF EXISTS usage_session_org_fkey;"
    "ALTER TABLE usage_who DROP CONSTRAINT IF EXISTS usage_who_org_fkey,"
    " DROP CONSTRAINT IF EXISTS usage_who_tagset_fkey"
)
# What the erasure of an organisation may have left behind would not hold.
BACK = (
    "DELETE FROM usage_who w WHERE NOT EXISTS (SELECT FROM usage_org o WHERE o.id = w.org)"
    " OR w.tagset IS NOT NULL AND NOT EXISTS (SELECT FROM usage_tagset t WHERE t.id = w.tagset);"
    "DELETE FROM usage_session s WHERE NOT EXISTS (SELECT FROM usage_org o WHERE o.id = s.org);"
    "ALTER TABLE usage_session ADD CONSTRAINT usage_session_org_fkey FOREIGN KEY (org) REFERENCES usage_org;"
    "ALTER TABLE usage_who ADD CONSTRAINT usage_who_org_fkey FOREIGN KEY (org) REFERENCES usage_org,"
    " ADD CONSTRAINT usage_who_tagset_fkey FOREIGN KEY (tagset) REFERENCES usage_tagset"
)


class Migration(migrations.Migration):
    dependencies = [("usage", "0027_words_of_chunks")]
    operations = [migrations.RunSQL(DROP, BACK)]
