from collections.abc import Iterator

import pytest
from django.db import connection

from tests.cast import cast  # noqa: F401 - the fixture of everybody
from tests.usage.engine.conftest import _fresh_caches, committed, drain, world  # noqa: F401 - fixtures


@pytest.fixture(autouse=True)
def _silent_shards(request: pytest.FixtureRequest) -> Iterator[None]:
    """What the shards of another test said of themselves is gone."""
    yield
    if "committed" in request.fixturenames:
        with connection.cursor() as cursor:
            cursor.execute("TRUNCATE usage_shard, usage_stall, usage_day_tally")
