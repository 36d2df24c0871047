"""Rights of single members on single teams.

The database ends them with the membership, in the same statement, and holds team and person to one organisation.
"""

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

import apps.core.clock
import apps.core.ids

_KEYS = {
    "teams_user_right_team_org": ("teams_teamuserobjectpermission", "content_object_id", "teams_team (org_id, id)"),
    "teams_user_right_member": ("teams_teamuserobjectpermission", "user_id", "accounts_membership (org_id, user_id)"),
}


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0003_custom_roles"),
        ("auth", "0012_alter_user_first_name_max_length"),
        ("teams", "0004_invitations"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.AlterModelOptions(
            name="team",
            options={
                "base_manager_name": "objects",
                "default_manager_name": "objects",
                "ordering": ("name",),
                "permissions": (
                    ("team_read", "May team.read on this one"),
                    ("team_manage", "May team.manage on this one"),
                ),
            },
        ),
        migrations.CreateModel(
            name="TeamUserObjectPermission",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        db_default=apps.core.ids.UUID7(),
                        default=apps.core.ids.uuid7,
                        editable=False,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                ("created_at", models.DateTimeField(default=apps.core.clock.now, editable=False)),
                ("content_object", models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, to="teams.team")),
                (
                    "org",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="+", to="accounts.organization"
                    ),
                ),
                ("permission", models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, to="auth.permission")),
                ("user", models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, to=settings.AUTH_USER_MODEL)),
            ],
            options={
                "verbose_name": "right of a person on a team",
                "verbose_name_plural": "rights of people on teams",
                "abstract": False,
                "base_manager_name": "objects",
                "default_manager_name": "objects",
                "constraints": [
                    models.UniqueConstraint(
                        fields=("content_object", "user", "permission"), name="teams_user_right_unique"
                    )
                ],
            },
        ),
        *(
            migrations.RunSQL(
                f"ALTER TABLE {table} ADD CONSTRAINT {name} FOREIGN KEY (org_id, {column}) REFERENCES {target} "
                "ON DELETE CASCADE",
                f"ALTER TABLE {table} DROP CONSTRAINT {name}",
            )
            for name, (table, column, target) in _KEYS.items()
        ),
    ]
