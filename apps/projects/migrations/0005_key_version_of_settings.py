"""What keys depend on has more parts: a project's settings, a key's environment and its addresses.

A digest that is made anew under another pepper changes nothing that a process remembers, so it no longer counts.
"""

from django.db import migrations

FORWARD = """
ALTER TABLE projects_projectsettings ADD CONSTRAINT projects_settings_project_org
    FOREIGN KEY (org_id, project_id) REFERENCES projects_project (org_id, id) DEFERRABLE INITIALLY DEFERRED;
DROP TRIGGER projects_key_changed ON projects_apikey;
CREATE TRIGGER projects_key_changed AFTER DELETE OR UPDATE OF name, prefix, scopes, project_id, owner_id, team_id,
    expires_at, revoked_at, rate_limit_per_minute, environment, allowed_ips ON projects_apikey
    FOR EACH STATEMENT EXECUTE FUNCTION projects_key_changed();
CREATE TRIGGER projects_key_changed AFTER INSERT OR DELETE OR UPDATE ON projects_projectsettings
    FOR EACH STATEMENT EXECUTE FUNCTION projects_key_changed();
"""
BACKWARD = """
DROP TRIGGER projects_key_changed ON projects_projectsettings;
DROP TRIGGER projects_key_changed ON projects_apikey;
CREATE TRIGGER projects_key_changed AFTER DELETE OR UPDATE OF digest, name, prefix, scopes, project_id, owner_id,
    team_id, expires_at, revoked_at, rate_limit_per_minute ON projects_apikey
    FOR EACH STATEMENT EXECUTE FUNCTION projects_key_changed();
ALTER TABLE projects_projectsettings DROP CONSTRAINT projects_settings_project_org;
"""


class Migration(migrations.Migration):
    dependencies = [("projects", "0004_project_settings")]

    operations = [migrations.RunSQL(FORWARD, BACKWARD)]
