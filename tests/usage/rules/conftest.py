from tests.usage.engine.conftest import _fresh_caches, drain, world  # noqa: F401 - fixtures
