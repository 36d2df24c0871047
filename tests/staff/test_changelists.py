"""Every list of the staff admin, its search, its filters and the page of a row: under twenty queries, however long."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.apps import apps
from django.db import connection, models
from django.test import Client
from django.urls import reverse

from apps.core.tenancy import system_scope
from mindweave.admin_site import staff_site
from tests.staff.counting import counted
from tests.staff.rows import ROWS, fabricate

MOST = 20
# Models of ours that staff do not see, each with the reason.
UNSEEN: dict[str, str] = {}
OURS = sorted(
    (model for model in staff_site._registry if model.__module__.startswith("apps.")),
    key=lambda model: model._meta.label,
)
# A page of its own, and tables that have one row.
AS_THEY_ARE = {"usage.Shard", "usage.PriceBookVersion", "usage.HintMark"}


def test_every_model_of_ours_is_in_the_staff_admin_or_on_the_list() -> None:
    ours = {model._meta.label for model in apps.get_models() if model.__module__.startswith("apps.")}
    assert ours - {model._meta.label for model in OURS} == set(UNSEEN)
    assert all(UNSEEN.values()), "without a reason"


def address(model: type[models.Model], page: str, *args: Any) -> str:
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_{page}", args=args)


def cost(office: Client, url: str, query: dict[str, Any] | None = None) -> tuple[int, Any]:
    with counted() as statements:
        response = office.get(url, query or {})
    assert response.status_code == 200, f"{url} {query}: {response.status_code}"
    assert len(statements) < MOST, f"{url} {query}: " + "\n".join(statements)
    return len(statements), response


def choices(response: Any) -> Iterator[dict[str, Any]]:
    """For each filter of a list, a query that uses it."""
    listed = response.context["cl"]
    for spec in listed.filter_specs:
        name = next(each for each in spec.expected_parameters() if each)
        if hasattr(spec, "field_path") and name.endswith("_from_0"):
            yield {name: "2026-01-01", name.replace("_from_0", "_from_1"): "00:00"}
        elif isinstance(getattr(spec, "field", None), models.ForeignKey) and "__isempty" not in name:
            keys = spec.field.related_model._base_manager.values_list("pk", flat=True)
            yield {name: str(keys[0])}
        elif getattr(spec, "lookup_choices", None):
            yield {name: spec.lookup_choices[0][0]}
        elif name.endswith("__isempty") or isinstance(getattr(spec, "field", None), models.BooleanField):
            yield {name: "1"}
        else:
            yield {name: spec.field.flatchoices[0][0]}


@pytest.mark.parametrize("model", OURS, ids=lambda model: model._meta.label)
def test_a_list_its_search_its_filters_and_a_row_are_cheap_however_long(office, db, model) -> None:
    if model._meta.label in AS_THEY_ARE:
        cost(office, address(model, "changelist"))
        return
    with connection.cursor() as cursor:
        # Made-up rows need not fit together; what is asked of them costs the same.
        cursor.execute("SET LOCAL session_replication_role = replica")
    with system_scope("the test"):
        fabricate(model)
    few, response = cost(office, address(model, "changelist"))
    assert response.context["cl"].result_list, "a list without rows proves nothing"
    with system_scope("the test"):
        fabricate(model, start=ROWS)
    more, response = cost(office, address(model, "changelist"))
    assert more <= few
    assert len(response.context["cl"].result_list) >= 2 * ROWS
    if staff_site._registry[model].search_fields:
        cost(office, address(model, "changelist"), {"q": "name"})
    with system_scope("the test"):
        queries = list(choices(response))
    for query in queries:
        _, filtered = cost(office, address(model, "changelist"), query)
        assert "e=1" not in filtered.request["QUERY_STRING"], query
    row = response.context["cl"].result_list[0]
    if response.context["cl"].list_display_links:
        cost(office, address(model, "change", row.pk))
