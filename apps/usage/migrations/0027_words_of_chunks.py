"""Each chunk lists the words of its events' details, by hash; NULL, as older ones have, is that it does not say."""

from django.db import migrations

ADD = "ALTER TABLE usage_chunk ADD COLUMN words integer[]"
BACK = "ALTER TABLE usage_chunk DROP COLUMN words"


class Migration(migrations.Migration):
    dependencies = [("usage", "0026_final_failures")]
    operations = [migrations.RunSQL(ADD, BACK)]
