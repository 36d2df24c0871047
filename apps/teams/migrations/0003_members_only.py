"""Only members of an organisation are in its teams: whoever leaves it leaves them, in the same statement.

The database does it because teams stand above accounts: no code there knows of them, and an event would come later.
"""

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("teams", "0002_composite_keys"), ("accounts", "0001_initial")]

    operations = [
        migrations.RunSQL(
            """
            DELETE FROM teams_teammembership t WHERE NOT EXISTS
                (SELECT FROM accounts_membership m WHERE m.org_id = t.org_id AND m.user_id = t.user_id);
            ALTER TABLE teams_teammembership ADD CONSTRAINT teams_membership_member FOREIGN KEY (org_id, user_id)
                REFERENCES accounts_membership (org_id, user_id) ON DELETE CASCADE;
            """,
            "ALTER TABLE teams_teammembership DROP CONSTRAINT teams_membership_member",
        )
    ]
