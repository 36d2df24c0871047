from datetime import UTC, datetime, timedelta
from decimal import Decimal
from uuid import uuid4

import pytest
from django.db import IntegrityError, transaction

from apps.audit.models import AuditEntry
from apps.core.errors import Conflict, NotFound, ValidationFailed
from apps.core.tenancy import system_scope
from apps.events.models import OutboxEvent
from apps.usage.models import Price
from apps.usage.pricing.book import PriceClass, TokenUsage, forget_book, get_book
from apps.usage.services import price_end, price_set
from tests.usage.engine.conftest import World, _fresh_caches, world  # noqa: F401 - fixtures

START = datetime(2026, 1, 1, tzinfo=UTC)
MODEL = "claude-fable-5-2"
USAGE = TokenUsage(input=1_000_000)


def units(price: str = "7") -> dict[str, Decimal]:
    return {
        "input": Decimal(price), "output": Decimal(1), "cache_read": Decimal(1), "cache_write_5m": Decimal(1),
        "cache_write_1h": Decimal(1), "web_search": Decimal("0.01"),
    }  # fmt: skip


def cost(at: datetime, model: str = MODEL, **options) -> int | None:
    forget_book()
    return get_book().price(model, PriceClass(), at, USAGE, **options).nano_usd


def facts(kind: str) -> list[dict]:
    with system_scope("test"):
        if kind == "audit":
            rows = AuditEntry.objects.filter(target_type="price").order_by("occurred_at", "id")
            return [{"action": row.action, "label": row.target_label} for row in rows]
        return [row.envelope["data"] for row in OutboxEvent.objects.filter(type="usage.price_changed").order_by("seq")]


@pytest.mark.django_db
def test_a_price_that_arrives_prices_the_model_from_its_start() -> None:
    assert cost(START) is None
    price_id = price_set(model=f"{MODEL}-20260101", valid_from=START, units=units(), source="announcement")
    assert cost(START) == 7_000_000_000
    assert cost(START - timedelta(microseconds=1)) is None
    assert facts("audit") == [{"action": "price.set", "label": f"{MODEL} from 2026-01-01"}]
    assert facts("bus") == [
        {"price_id": str(price_id), "model": MODEL, "valid_from": START.isoformat(), "valid_to": None}
    ]


@pytest.mark.django_db
def test_the_next_price_ends_the_open_one() -> None:
    first = price_set(model=MODEL, valid_from=START, units=units("7"), source="a")
    change = START + timedelta(days=30)
    price_set(model=MODEL, valid_from=change, units=units("9"), source="b")
    assert Price.objects.get(pk=first).valid_to == change
    assert cost(change - timedelta(microseconds=1)) == 7_000_000_000
    assert cost(change) == 9_000_000_000
    assert [fact["action"] for fact in facts("audit")] == ["price.set", "price.ended", "price.set"]


@pytest.mark.django_db
def test_an_overlap_is_refused_and_nothing_of_it_stays() -> None:
    price_set(model=MODEL, valid_from=START, valid_to=START + timedelta(days=10), units=units(), source="a")
    version = get_book().version
    for start, end in ((9, 12), (-5, 1), (0, 10), (-5, None), (3, None)):
        with pytest.raises(Conflict, match="overlap"):
            price_set(
                model=MODEL,
                valid_from=START + timedelta(days=start),
                valid_to=None if end is None else START + timedelta(days=end),
                units=units(),
                source="b",
            )
    forget_book()
    assert get_book().version == version
    assert Price.objects.filter(model=MODEL).count() == 1
    assert len(facts("bus")) == 1
    price_set(model=MODEL, valid_from=START + timedelta(days=10), units=units("8"), source="after")
    assert cost(START + timedelta(days=10)) == 8_000_000_000


@pytest.mark.django_db
def test_the_database_refuses_an_overlap_that_did_not_come_through_the_service() -> None:
    row = {"model": MODEL, "source": "a", **units()}
    Price.objects.create(valid_from=START, valid_to=START + timedelta(days=10), **row)
    Price.objects.create(valid_from=START + timedelta(days=10), **row)
    with pytest.raises(IntegrityError, match="usage_price_no_overlap"), transaction.atomic():
        Price.objects.create(valid_from=START + timedelta(days=9), valid_to=START + timedelta(days=11), **row)


@pytest.mark.django_db
def test_an_organisations_own_price_is_its_own_alone(world: World) -> None:  # noqa: F811
    price_set(model=MODEL, valid_from=START, units=units("7"), source="list")
    price_set(model=MODEL, valid_from=START, units=units("3"), source="contract", org_id=world.org_id)
    assert cost(START, org_id=world.org_id) == 3_000_000_000
    assert cost(START, org_id=uuid4()) == 7_000_000_000
    assert cost(START) == 7_000_000_000


@pytest.mark.django_db
def test_a_price_of_an_unknown_organisation_is_refused() -> None:
    with pytest.raises(NotFound):
        price_set(model=MODEL, valid_from=START, units=units(), source="a", org_id=uuid4())
    assert facts("audit") == []


@pytest.mark.django_db
def test_an_ended_price_leaves_the_model_unpriced() -> None:
    price_id = price_set(model=MODEL, valid_from=START, units=units(), source="a")
    end = START + timedelta(days=1)
    price_end(price_id=price_id, valid_to=end)
    assert cost(end) is None
    assert cost(end - timedelta(microseconds=1)) == 7_000_000_000
    for wrong in (START, end, end + timedelta(days=1)):
        with pytest.raises(ValidationFailed):
            price_end(price_id=price_id, valid_to=wrong)
    with pytest.raises(NotFound):
        price_end(price_id=uuid4(), valid_to=end)


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"model": " "}, "/model"),
        ({"source": ""}, "/source"),
        ({"valid_to": START}, "/valid_to"),
        ({"units": {"input": Decimal(1)}}, "/units"),
        ({"units": {**units(), "input": Decimal(-1)}}, "/units/input"),
        ({"units": {**units(), "input": Decimal("NaN")}}, "/units/input"),
        ({"units": {**units(), "output": Decimal("1e-13")}}, "/units/output"),
        ({"units": {**units(), "output": Decimal("1e12")}}, "/units/output"),
        ({"multipliers": {"geo:us": Decimal(0)}}, "/multipliers/geo:us"),
        ({"multipliers": {"moon": Decimal(2)}}, "/multipliers/moon"),
        ({"multipliers": {"context:>150k": Decimal(2)}}, "/multipliers/context:>150k"),
    ],
)
def test_what_is_wrong_with_a_price_is_pointed_at(change, pointer) -> None:
    fine = {"model": MODEL, "valid_from": START, "units": units(), "source": "a"}
    with pytest.raises(ValidationFailed) as raised:
        price_set(**{**fine, **change})
    assert pointer in {problem["pointer"] for problem in raised.value.errors}
    assert not Price.objects.filter(model=MODEL).exists()


@pytest.mark.django_db
def test_multipliers_of_a_new_price_apply() -> None:
    price_set(model=MODEL, valid_from=START, units=units(), source="a", multipliers={"geo:us": Decimal("1.1")})
    forget_book()
    book = get_book()
    assert book.price(MODEL, PriceClass(geo="us"), START, USAGE).nano_usd == 7_700_000_000


@pytest.mark.django_db
def test_the_book_is_read_again_only_when_it_changed(django_assert_num_queries, monkeypatch) -> None:
    book = get_book()
    with django_assert_num_queries(0):
        assert get_book() is book
    monkeypatch.setattr("apps.usage.pricing.book._checked", 0.0)  # as if a second had passed
    with django_assert_num_queries(1):
        assert get_book() is book
    price_set(model=MODEL, valid_from=START, units=units(), source="a")
    monkeypatch.setattr("apps.usage.pricing.book._checked", 0.0)
    changed = get_book()
    assert changed.version == book.version + 1
    assert changed.find(MODEL, int(START.timestamp()) * 1_000_000) is not None
