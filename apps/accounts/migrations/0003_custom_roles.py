"""Roles that organisations make, and memberships that name them.

A membership names a role by a word. Where the word is not one of the five, a column that the database keeps in step
with it is held to the organisation's own roles by a foreign key: no membership without its role, no role gone that
somebody still has.
"""

import django.contrib.postgres.fields
import django.db.models.deletion
import django.db.models.functions.text
from django.db import migrations, models

import apps.core.clock
import apps.core.ids

FORWARD = """
ALTER TABLE accounts_membership ADD COLUMN own_role varchar(60) GENERATED ALWAYS AS (
    CASE WHEN role IN ('owner', 'admin', 'billing', 'developer', 'viewer') THEN NULL ELSE role END
) STORED;
ALTER TABLE accounts_membership ADD CONSTRAINT accounts_membership_role FOREIGN KEY (org_id, own_role)
    REFERENCES accounts_customrole (org_id, key) DEFERRABLE INITIALLY DEFERRED;
CREATE INDEX accounts_membership_own_role ON accounts_membership (org_id, own_role) WHERE own_role IS NOT NULL;
"""
BACKWARD = """
DROP INDEX accounts_membership_own_role;
ALTER TABLE accounts_membership DROP CONSTRAINT accounts_membership_role;
ALTER TABLE accounts_membership DROP COLUMN own_role;
"""


class Migration(migrations.Migration):
    dependencies = [("accounts", "0002_impersonation")]

    operations = [
        migrations.AlterField(model_name="membership", name="role", field=models.CharField(max_length=60)),
        migrations.CreateModel(
            name="CustomRole",
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
                ("updated_at", models.DateTimeField(auto_now=True)),
                ("key", models.SlugField(editable=False, max_length=60)),
                ("name", models.CharField(max_length=60)),
                ("description", models.CharField(blank=True, max_length=200)),
                (
                    "capabilities",
                    django.contrib.postgres.fields.ArrayField(base_field=models.CharField(max_length=40), size=None),
                ),
                (
                    "org",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="+", to="accounts.organization"
                    ),
                ),
            ],
            options={
                "ordering": ("name",),
                "abstract": False,
                "base_manager_name": "objects",
                "default_manager_name": "objects",
                "constraints": [
                    models.UniqueConstraint(fields=("org", "key"), name="accounts_customrole_key"),
                    models.UniqueConstraint(
                        models.F("org"), django.db.models.functions.text.Lower("name"), name="accounts_customrole_name"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("key__in", ["owner", "admin", "billing", "developer", "viewer"]), _negated=True
                        ),
                        name="accounts_customrole_not_built_in",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("capabilities__overlap", ["org.delete"]), _negated=True),
                        name="accounts_customrole_not_owners_own",
                    ),
                ],
            },
        ),
        migrations.RunSQL(FORWARD, BACKWARD),
    ]
