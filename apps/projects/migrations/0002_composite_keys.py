"""A second line behind the scopes: a key's project and team, and a project's team, are of the same organisation."""

from django.db import migrations

_KEYS = {
    "projects_project_team_org": ("projects_project", "team_id", "teams_team"),
    "projects_apikey_project_org": ("projects_apikey", "project_id", "projects_project"),
    "projects_apikey_team_org": ("projects_apikey", "team_id", "teams_team"),
}


class Migration(migrations.Migration):
    dependencies = [("projects", "0001_initial"), ("teams", "0002_composite_keys")]

    operations = [
        migrations.RunSQL(
            f"ALTER TABLE {table} ADD CONSTRAINT {name} FOREIGN KEY (org_id, {column}) "
            f"REFERENCES {target} (org_id, id) DEFERRABLE INITIALLY DEFERRED",
            f"ALTER TABLE {table} DROP CONSTRAINT {name}",
        )
        for name, (table, column, target) in _KEYS.items()
    ]
