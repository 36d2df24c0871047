"""Sign-ins in a browser and over the API are rows of one kind.

Cookie sessions from before have no row, so their people sign in once more.
"""

import django.contrib.postgres.fields
import django.db.models.deletion
from django.db import migrations, models

import apps.core.clock

KNOWN_SINCE = "UPDATE identity_signin SET authenticated_at = created_at, methods = '{password}'"


class Migration(migrations.Migration):
    dependencies = [
        ("identity", "0003_factors_and_providers"),
    ]

    operations = [
        migrations.RenameModel(old_name="TokenFamily", new_name="SignIn"),
        migrations.AlterModelOptions(name="signin", options={"verbose_name": "sign-in"}),
        migrations.RenameIndex(model_name="signin", old_name="identity_family_user", new_name="identity_sign_in_user"),
        migrations.AlterField(
            model_name="signin",
            name="user",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.CASCADE, related_name="sign_ins", to="identity.user"
            ),
        ),
        migrations.AddField(
            model_name="signin",
            name="kind",
            field=models.CharField(choices=[("web", "Browser"), ("api", "API")], default="api", max_length=3),
        ),
        migrations.AlterField(
            model_name="signin",
            name="last_used_at",
            field=models.DateTimeField(default=apps.core.clock.now, help_text="To the minute."),
        ),
        migrations.AddField(
            model_name="signin",
            name="authenticated_at",
            field=models.DateTimeField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name="signin",
            name="methods",
            field=django.contrib.postgres.fields.ArrayField(
                base_field=models.CharField(max_length=40), blank=True, default=list, size=None
            ),
        ),
        migrations.AddField(
            model_name="signin",
            name="device",
            field=models.CharField(blank=True, help_text="What the user agent says, in words.", max_length=120),
        ),
        migrations.AddField(
            model_name="signin",
            name="country",
            field=models.CharField(blank=True, help_text="ISO 3166 code; empty where it is not known.", max_length=2),
        ),
        migrations.RunSQL(KNOWN_SINCE, migrations.RunSQL.noop),
    ]
