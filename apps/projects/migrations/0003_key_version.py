"""A version of all that decides whether a key works, so that processes remember keys until it changes.

The row is changed in the transaction that changes a key, so whoever sees the new version sees the new key. Last uses
do not count.
"""

from django.db import migrations

FORWARD = """
CREATE TABLE projects_key_version (
    id smallint PRIMARY KEY DEFAULT 1 CHECK (id = 1), version bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 10);
INSERT INTO projects_key_version DEFAULT VALUES;
CREATE FUNCTION projects_key_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE projects_key_version SET version = version + 1;
    RETURN NULL;
END
$$;
CREATE TRIGGER projects_key_changed AFTER DELETE OR UPDATE OF digest, name, prefix, scopes, project_id, owner_id,
    team_id, expires_at, revoked_at, rate_limit_per_minute ON projects_apikey
    FOR EACH STATEMENT EXECUTE FUNCTION projects_key_changed();
CREATE TRIGGER projects_key_changed AFTER DELETE OR UPDATE OF archived_at, team_id ON projects_project
    FOR EACH STATEMENT EXECUTE FUNCTION projects_key_changed();
CREATE TRIGGER projects_key_changed AFTER DELETE OR UPDATE OF status ON accounts_organization
    FOR EACH STATEMENT EXECUTE FUNCTION projects_key_changed();
"""
BACKWARD = """
DROP TRIGGER projects_key_changed ON accounts_organization;
DROP TRIGGER projects_key_changed ON projects_project;
DROP TRIGGER projects_key_changed ON projects_apikey;
DROP FUNCTION projects_key_changed();
DROP TABLE projects_key_version;
"""


class Migration(migrations.Migration):
    dependencies = [("projects", "0002_composite_keys")]

    operations = [migrations.RunSQL(FORWARD, BACKWARD)]
