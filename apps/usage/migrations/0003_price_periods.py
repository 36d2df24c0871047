"""Prices of one model and owner never overlap, whoever writes them.

The exclusion is over ranges alone, which GiST knows without extensions: owner and model as a range of one hash value.
A collision of two hashes would refuse a price, never admit an overlap.
"""

from django.db import migrations

FORWARD = """
ALTER TABLE usage_price ADD CONSTRAINT usage_price_no_overlap EXCLUDE USING gist (
    int8range(hashtextextended(coalesce(org_id::text, '') || ' ' || model, 0) / 2,
              hashtextextended(coalesce(org_id::text, '') || ' ' || model, 0) / 2, '[]') WITH &&,
    tstzrange(valid_from, valid_to) WITH &&
)
"""
BACKWARD = "ALTER TABLE usage_price DROP CONSTRAINT usage_price_no_overlap"


class Migration(migrations.Migration):
    dependencies = [("usage", "0002_engine")]

    operations = [migrations.RunSQL(FORWARD, BACKWARD)]
