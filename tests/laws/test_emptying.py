"""Tests with real commits leave nothing to the next one."""

from tests.emptying import forgotten_tables


def test_every_table_is_emptied_or_meant_to_stay(db: None) -> None:
    assert forgotten_tables() == set()
