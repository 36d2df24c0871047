"""Teams are nested one level and no deeper: a part of a team has no parts of its own.

What stood deeper is hung onto the topmost team above it, so that it stays part of the same whole. From then on the
database itself holds every team to it, whoever writes: a team's level follows from whether it has a parent, and a
parent must be of level 0, by a foreign key.
"""

from django.db import migrations

FORWARD = """
WITH RECURSIVE above AS (
    SELECT id, parent_id AS top, 1 AS depth FROM teams_team WHERE parent_id IS NOT NULL
    UNION ALL
    SELECT a.id, t.parent_id, a.depth + 1 FROM above a JOIN teams_team t ON t.id = a.top
    WHERE t.parent_id IS NOT NULL AND a.depth < 1000
), deepest AS (
    SELECT DISTINCT ON (id) id, top, depth FROM above ORDER BY id, depth DESC
)
UPDATE teams_team t SET parent_id = d.top, updated_at = now() FROM deepest d WHERE t.id = d.id AND d.depth > 1;
SET CONSTRAINTS ALL IMMEDIATE;
SET CONSTRAINTS ALL DEFERRED;
ALTER TABLE teams_team
    ADD COLUMN level smallint GENERATED ALWAYS AS (CASE WHEN parent_id IS NULL THEN 0 ELSE 1 END) STORED,
    ADD COLUMN parent_level smallint GENERATED ALWAYS AS (CASE WHEN parent_id IS NULL THEN NULL ELSE 0 END) STORED;
CREATE UNIQUE INDEX teams_team_id_level ON teams_team (id, level);
ALTER TABLE teams_team ADD CONSTRAINT teams_team_one_level FOREIGN KEY (parent_id, parent_level)
    REFERENCES teams_team (id, level) DEFERRABLE INITIALLY DEFERRED;
"""
BACKWARD = """
ALTER TABLE teams_team DROP CONSTRAINT teams_team_one_level;
DROP INDEX teams_team_id_level;
ALTER TABLE teams_team DROP COLUMN parent_level, DROP COLUMN level;
"""


class Migration(migrations.Migration):
    dependencies = [("teams", "0005_rights_on_teams")]

    operations = [migrations.RunSQL(FORWARD, BACKWARD)]
