from tests.cast import cast  # noqa: F401 - the fixture of everybody
from tests.usage.engine.conftest import _fresh_caches, committed, drain, world  # noqa: F401 - fixtures
