from tests.cast import cast  # noqa: F401 - the fixture of everybody
