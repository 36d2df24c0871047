"""A second line behind the scopes: a membership's team is of the same organisation, and so is a team's parent."""

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("teams", "0001_initial")]

    operations = [
        migrations.RunSQL(
            """
            ALTER TABLE teams_teammembership ADD CONSTRAINT teams_membership_team_org
                FOREIGN KEY (org_id, team_id) REFERENCES teams_team (org_id, id) DEFERRABLE INITIALLY DEFERRED;
            ALTER TABLE teams_team ADD CONSTRAINT teams_team_parent_org
                FOREIGN KEY (org_id, parent_id) REFERENCES teams_team (org_id, id) DEFERRABLE INITIALLY DEFERRED;
            """,
            """
            ALTER TABLE teams_team DROP CONSTRAINT teams_team_parent_org;
            ALTER TABLE teams_teammembership DROP CONSTRAINT teams_membership_team_org;
            """,
        )
    ]
