"""Rate limits: exact with Redis, open without."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from apps.core.errors import RateLimited
from apps.core.ratelimit import Limit, check, enforce
from apps.core.redis_away import REDIS
from tests.cast import Api, Cast, make_key


def test_a_burst_of_the_limit_passes_and_the_next_waits() -> None:
    limit = Limit("t", 5, 3600)
    results = [check(limit, "a") for _ in range(6)]
    assert [result.allowed for result in results] == [True] * 5 + [False]
    assert [result.remaining for result in results] == [4, 3, 2, 1, 0, 0]
    assert 0 < results[-1].retry_after <= 720
    assert check(limit, "b").allowed


def test_a_refusal_says_how_long_and_by_which_policy() -> None:
    limit = Limit("t2", 1, 60)
    enforce(limit, "a")
    with pytest.raises(RateLimited) as refused:
        enforce(limit, "a")
    assert refused.value.headers["RateLimit-Policy"] == '"t2";q=1;w=60'
    assert 1 <= int(refused.value.headers["Retry-After"]) <= 60


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(1, 40), st.integers(60, 86_400), st.integers(0, 60))
def test_never_more_than_the_limit_at_once(limit: int, window: int, tries: int) -> None:
    policy = Limit(f"p{limit}-{window}-{tries}", limit, window)
    allowed = sum(check(policy, str(id(policy))).allowed for _ in range(tries))
    # A long try may earn one refill where the interval is short.
    assert min(limit, tries) <= allowed <= min(limit + 1, tries)


def test_without_redis_nothing_is_limited(settings) -> None:
    settings.RATE_LIMIT_REDIS_URL = "redis://127.0.0.1:1/0"
    results = [check(Limit("t3", 1, 60), "a") for _ in range(3)]
    assert all(result.allowed and result.unknown for result in results)
    assert "RateLimit" not in results[0].headers()
    REDIS.forget()


def test_a_key_with_its_own_limit_is_held_to_it_and_one_without_is_not(cast: Cast) -> None:
    _, two = make_key(cast, scopes=("read",), rate_limit_per_minute=2)
    answers = [Api(token=two).get(f"/orgs/{cast.org.id}") for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert answers[0]["RateLimit-Policy"] == '"api";q=2;w=60'
    assert answers[2].json()["code"] == "rate_limited"
    assert int(answers[2]["Retry-After"]) >= 1
    _, free = make_key(cast, scopes=("read",), rate_limit_per_minute=0)
    assert "RateLimit" not in Api(token=free).get(f"/orgs/{cast.org.id}")
