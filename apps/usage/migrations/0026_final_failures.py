"""An import that failed says whether going on with it could help; a word for one piece of work that fails."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("usage", "0025_unhinted_in_order")]

    operations = [
        migrations.AddField(
            "import",
            "final",
            models.BooleanField(
                default=False,
                db_default=False,
                help_text="Whether what it failed for stays, so that it cannot be resumed.",
            ),
        ),
        migrations.AlterModelOptions(
            "upkeep",
            {"managed": False, "verbose_name": "piece of work that fails", "verbose_name_plural": "work that fails"},
        ),
    ]
