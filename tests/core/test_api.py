"""What every endpoint has in common."""

import gzip
import json
from io import BytesIO
from uuid import UUID

import pytest
import zstandard

from apps.core.ids import uuid7
from apps.core.money import nano_to_decimal, nano_to_str
from tests.cast import Api, Cast


def test_a_problem_says_what_and_where(cast: Cast) -> None:
    answer = Api(cast.alice).post("/orgs", {"name": "", "colour": "red", "timezone": 7})
    problem = answer.json()
    assert answer["Content-Type"] == "application/problem+json"
    assert (problem["status"], problem["code"]) == (400, "validation_failed")
    assert {error["pointer"] for error in problem["errors"]} == {"/colour"}
    assert problem["correlation_id"] == answer["X-Correlation-Id"]


@pytest.mark.parametrize(
    ("body", "code"), [(b"{", "malformed_json"), (b"[1]", "validation_failed"), (b'{"name": NaN}', "malformed_json"),
                       (b"\xff", "malformed_json"), (b'{"name": "\\u0000x"}', "validation_failed")],
)  # fmt: skip
def test_a_body_that_is_no_object_is_a_clear_400(body: bytes, code: str, cast: Cast) -> None:
    answer = Api(cast.alice).client.post("/orgs", data=body, content_type="application/json")
    assert (answer.status_code, answer.json()["code"]) == (400, code)


@pytest.mark.parametrize("encoding", ["gzip", "zstd"])
def test_compressed_bodies_are_taken_and_bombs_are_not(encoding: str, cast: Cast, settings) -> None:
    pack = gzip.compress if encoding == "gzip" else zstandard.ZstdCompressor().compress
    client = Api(cast.alice).client

    def send(content: bytes) -> int:
        return client.post(
            "/orgs", data=pack(content), content_type="application/json", headers={"Content-Encoding": encoding}
        ).status_code

    assert send(json.dumps({"name": "Packed"}).encode()) == 201
    settings.MAX_INFLATED_BYTES = 10_000
    assert send(b" " * 1_000_000) == 413


def test_a_chunked_body_without_a_length_is_read(cast: Cast) -> None:
    client = Api(cast.alice).client
    # The client's own stream refuses to be read to its end, as a server's may be.
    stream = {"wsgi.input": BytesIO(b'{"name": "Chunked"}'), "CONTENT_LENGTH": ""}
    answer = client.post("/orgs", content_type="application/json", headers={"Transfer-Encoding": "chunked"}, **stream)
    assert (answer.status_code, answer.json()["name"]) == (201, "Chunked")


def test_a_broken_encoding_is_400_and_an_unknown_one_415(cast: Cast) -> None:
    client = Api(cast.alice).client
    for encoding, status in (("gzip", 400), ("zstd", 400), ("br", 415)):
        answer = client.post(
            "/orgs", data=b"nonsense", content_type="application/json", headers={"Content-Encoding": encoding}
        )
        assert answer.status_code == status


def test_a_correlation_id_is_taken_or_made(cast: Cast) -> None:
    given = str(uuid7())
    assert Api(cast.alice).get("/orgs", X_Correlation_Id=given)["X-Correlation-Id"] == given
    made = Api(cast.alice).get("/orgs", X_Correlation_Id="not one\n")["X-Correlation-Id"]
    assert UUID(made).version == 7


def test_pages_follow_each_other_without_gap_or_overlap(cast: Cast) -> None:
    api = Api(cast.alice)
    for number in range(7):
        api.post(f"/orgs/{cast.org.id}/projects", {"name": f"P{number}"})
    seen, cursor = [], ""
    while True:
        page = api.get(f"/orgs/{cast.org.id}/projects", {"limit": 3, **({"cursor": cursor} if cursor else {})}).json()
        seen += [row["id"] for row in page["data"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert len(seen) == len(set(seen)) == 8


@pytest.mark.parametrize("query", [{"limit": 0}, {"limit": 201}, {"limit": "x"}, {"limit": "٣"}, {"cursor": "x"}])
def test_a_wrong_limit_or_cursor_is_named(query: dict[str, object], cast: Cast) -> None:
    answer = Api(cast.alice).get(f"/orgs/{cast.org.id}/projects", query)
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["pointer"] in query


def test_a_cursor_fits_only_its_own_list(cast: Cast) -> None:
    api = Api(cast.alice)
    api.post(f"/orgs/{cast.org.id}/projects", {"name": "Second"})
    cursor = api.get(f"/orgs/{cast.org.id}/projects", {"limit": 1}).json()["next_cursor"]
    tampered = cursor[:-2] + ("aa" if not cursor.endswith("aa") else "bb")
    assert api.get(f"/orgs/{cast.org.id}/projects", {"cursor": tampered}).status_code == 400


def test_an_organisation_that_is_not_theirs_is_404_by_every_way_of_naming_it(cast: Cast) -> None:
    bob = Api(cast.bob)
    assert bob.get(f"/orgs/{cast.elsewhere.id}").status_code == 404
    assert bob.get("/analytics/usage", X_Org_Id=str(cast.elsewhere.id)).status_code == 404
    assert bob.get("/analytics/usage", X_Org_Id=str(uuid7())).status_code == 404
    assert bob.get("/analytics/usage", X_Org_Id="x").status_code == 400
    assert bob.get("/analytics/usage", X_Org_Id=str(cast.org.id)).status_code == 200


def test_an_unexpected_failure_is_a_problem_that_tells_nothing(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    from apps.accounts import api as accounts_api

    def fail(*args: object, **kwargs: object) -> None:
        raise ZeroDivisionError("the secret inside")

    monkeypatch.setattr(accounts_api.selectors, "org_list", fail)
    api = Api(cast.alice)
    api.client.raise_request_exception = False
    answer = api.get("/orgs")
    assert (answer.status_code, answer["Content-Type"]) == (500, "application/problem+json")
    assert b"secret" not in answer.content


def test_ids_are_in_the_order_of_their_making() -> None:
    ids = [uuid7() for _ in range(20_000)]
    assert ids == sorted(ids)
    assert len(set(ids)) == len(ids)
    assert {(each.version, each.variant) for each in ids[:100]} == {(7, ids[0].variant)}


@pytest.mark.parametrize(
    ("nano", "text"),
    [(0, "0.000000"), (118_000_000, "0.118000"), (1, "0.000000001"), (-1_500_000_000, "-1.500000"),
     (9_284_000, "0.009284"), (10**18, "1000000000.000000")],
)  # fmt: skip
def test_money_is_exact_and_never_in_exponents(nano: int, text: str) -> None:
    assert nano_to_str(nano) == text
    assert nano_to_decimal(nano) * 10**9 == nano


def test_health_and_metrics(db: None, settings) -> None:
    api = Api(ip="127.0.0.1")
    assert api.get("/health/live").json() == {"status": "ok"}
    assert api.get("/health/ready").json()["status"] == "ok"
    assert api.get("/metrics").status_code == 200
    assert Api(ip="192.0.2.1").get("/metrics").status_code == 403
    settings.METRICS_TOKEN = "m" * 20
    assert Api(token="m" * 20, ip="192.0.2.1").get("/metrics").status_code == 200


def test_the_callers_address_is_what_the_front_says_and_not_what_the_caller_says(db: None) -> None:
    api = Api(ip="127.0.0.1")
    # The front appends the real peer: the last hop counts, what a client put before it does not.
    assert api.get("/metrics", X_Forwarded_For="127.0.0.1, 203.0.113.9").status_code == 403
    assert api.get("/metrics", X_Forwarded_For="203.0.113.9, 127.0.0.1").status_code == 200


def test_pages_carry_a_strict_policy_and_the_admin_its_own(db: None) -> None:
    policy = Api().get("/login")["Content-Security-Policy"]
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
