"""A block of hints is chosen among the chunks of a part that were noticed first, which an index has in their order."""

from django.db import migrations

IN_ORDER = """
CREATE INDEX usage_unhinted_part ON usage_unhinted (org, drop_on, chunk);
DROP INDEX usage_unhinted_org_day;
"""
BACK = """
CREATE INDEX usage_unhinted_org_day ON usage_unhinted (org, drop_on);
DROP INDEX usage_unhinted_part;
"""


class Migration(migrations.Migration):
    dependencies = [("usage", "0024_format_of_hints")]
    operations = [migrations.RunSQL(IN_ORDER, BACK)]
