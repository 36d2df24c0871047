"""Rights of single members and of teams on single projects.

The database ends them with the membership, the team and the project, in the same statement, and holds all of them to
one organisation.
"""

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

import apps.core.clock
import apps.core.ids

_KEYS = {
    "projects_user_right_project_org": (
        "projects_projectuserobjectpermission",
        "content_object_id",
        "projects_project (org_id, id)",
    ),
    "projects_user_right_member": (
        "projects_projectuserobjectpermission",
        "user_id",
        "accounts_membership (org_id, user_id)",
    ),
    "projects_team_right_project_org": (
        "projects_projectteamobjectpermission",
        "content_object_id",
        "projects_project (org_id, id)",
    ),
    "projects_team_right_team_org": ("projects_projectteamobjectpermission", "team_id", "teams_team (org_id, id)"),
}


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0003_custom_roles"),
        ("auth", "0012_alter_user_first_name_max_length"),
        ("projects", "0005_key_version_of_settings"),
        ("teams", "0005_rights_on_teams"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.AlterModelOptions(
            name="project",
            options={
                "base_manager_name": "objects",
                "default_manager_name": "objects",
                "ordering": ("name",),
                "permissions": (
                    ("project_read", "May project.read on this one"),
                    ("project_manage", "May project.manage on this one"),
                    ("key_read", "May key.read on this one"),
                    ("key_manage", "May key.manage on this one"),
                    ("usage_read", "May usage.read on this one"),
                ),
            },
        ),
        migrations.CreateModel(
            name="ProjectTeamObjectPermission",
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
                (
                    "content_object",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="+", to="projects.project"
                    ),
                ),
                (
                    "org",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="+", to="accounts.organization"
                    ),
                ),
                ("permission", models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, to="auth.permission")),
                (
                    "team",
                    models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name="+", to="teams.team"),
                ),
            ],
            options={
                "verbose_name": "right of a team on a project",
                "verbose_name_plural": "rights of teams on projects",
                "abstract": False,
                "base_manager_name": "objects",
                "default_manager_name": "objects",
                "constraints": [
                    models.UniqueConstraint(
                        fields=("content_object", "team", "permission"), name="projects_team_right_unique"
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="ProjectUserObjectPermission",
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
                (
                    "content_object",
                    models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, to="projects.project"),
                ),
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
                "verbose_name": "right of a person on a project",
                "verbose_name_plural": "rights of people on projects",
                "abstract": False,
                "base_manager_name": "objects",
                "default_manager_name": "objects",
                "constraints": [
                    models.UniqueConstraint(
                        fields=("content_object", "user", "permission"), name="projects_user_right_unique"
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
