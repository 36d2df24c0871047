"""Connections to Google take its word: its ID tokens do not say when somebody signed in."""

from typing import Any

from django.db import migrations

# As it stood with this migration.
GOOGLE = "https://accounts.google.com"


def take_its_word(apps: Any, schema_editor: Any) -> None:
    connections = apps.get_model("sso", "Connection")._base_manager
    connections.filter(kind="oidc", issuer=GOOGLE, needs_auth_time=True).update(needs_auth_time=False)


class Migration(migrations.Migration):
    dependencies = [("sso", "0002_metadata_fetched_again_and_told_sign_ins")]

    operations = [migrations.RunPython(take_its_word, migrations.RunPython.noop, elidable=True)]
