"""While Redis is away a line says so; whatever else fails keeps its traceback."""

import logging
import sys

import pytest
import redis
from django.db import OperationalError
from kombu.exceptions import OperationalError as BrokerError

from apps.core.logging import _in_brief


def _record(error: Exception, *, name: str = "celery.beat") -> logging.LogRecord:
    try:
        try:
            raise error
        except Exception as cause:
            raise RuntimeError("could not send") from cause
    except RuntimeError:
        return logging.LogRecord(name, logging.ERROR, __file__, 1, "Message Error: %s", ("x",), sys.exc_info())


@pytest.mark.parametrize("error", [redis.ConnectionError("gone"), BrokerError("gone"), ConnectionRefusedError("gone")])
def test_what_comes_of_redis_is_one_line(error: Exception) -> None:
    record = _record(error)
    assert _in_brief(record)
    assert record.exc_info is None
    assert record.getMessage() == "Redis is away, most likely: could not send"


@pytest.mark.parametrize("error", [OperationalError("the database is away"), KeyError("a slip")])
def test_another_failure_keeps_its_traceback(error: Exception) -> None:
    record = _record(error)
    assert _in_brief(record)
    assert record.exc_info is not None
    assert record.getMessage() == "Message Error: x"


def test_other_loggers_are_left_alone() -> None:
    record = _record(redis.ConnectionError("gone"), name="apps.usage")
    assert _in_brief(record)
    assert record.exc_info is not None
