from django.db import migrations, models

import apps.core.clock


class Migration(migrations.Migration):
    dependencies = [("usage", "0013_day_sums_by_one_side")]

    operations = [
        migrations.CreateModel(
            name="DirectoryChange",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("org_id", models.UUIDField()),
                ("at", models.DateTimeField(default=apps.core.clock.now)),
            ],
            options={
                "db_table": "usage_directory_change",
                "verbose_name": "change of people",
                "verbose_name_plural": "changes of people",
                "abstract": False,
                "base_manager_name": "objects",
                "default_manager_name": "objects",
            },
        ),
    ]
