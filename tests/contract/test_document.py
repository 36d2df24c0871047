"""The OpenAPI document says what there is: every route, each answer's form, the same as the snapshot."""

import re
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.urls import URLPattern, URLResolver, get_resolver

from apps.core import openapi
from tests.cast import Api
from tests.matrix.matrix import EXCUSED, ROWS

PAGES = {row.route for row in ROWS if row.page} | set(EXCUSED)


def paths(resolver: Any = None, before: str = "/") -> dict[str, str]:
    """Name → path of every route of ours, as OpenAPI writes it."""
    found: dict[str, str] = {}
    for pattern in (resolver or get_resolver()).url_patterns:
        if isinstance(pattern, URLPattern):
            found[pattern.name] = before + re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", str(pattern.pattern))
        elif isinstance(pattern, URLResolver) and str(pattern.pattern) != "admin/":
            found |= paths(pattern, before + str(pattern.pattern))
    return found


ERRORS = {"application/problem+json", "application/scim+json", "application/json", "application/x-protobuf"}


def operations() -> list[Any]:
    return [pytest.param(entry, id=f"{entry['method'].upper()} {entry['path']}") for entry in openapi.operations()]


def test_every_route_that_is_no_page_is_in_the_document() -> None:
    routes = {path for name, path in paths().items() if name not in PAGES}
    assert routes - set(openapi.schema()["paths"]) == set()


def test_the_document_has_no_path_that_is_no_route() -> None:
    assert set(openapi.schema()["paths"]) - set(paths().values()) == set()


def test_every_method_of_the_matrix_is_in_the_document() -> None:
    routes, document = paths(), openapi.schema()["paths"]
    wanted = {(routes[row.route], row.method.lower()) for row in ROWS if not row.page}
    assert wanted - {(path, method) for path, item in document.items() for method in item} == set()


@pytest.mark.parametrize("operation", operations())
def test_an_operation_says_who_may_what_comes_and_how_it_fails(operation: dict[str, Any]) -> None:
    assert operation["operationId"]
    assert operation["tags"]
    assert operation.get("summary") or operation.get("description")
    assert "security" in operation
    # What only sends a browser on succeeds by a redirection, and shows its failure to a person.
    redirects = not any(status[0] == "2" for status in operation["responses"])
    assert not redirects or "302" in operation["responses"]
    forms = ERRORS | {"text/html"} if redirects else ERRORS
    for status, answer in operation["responses"].items():
        if status[0] in "45" and "content" in answer and "checks" not in str(answer["content"]):
            assert set(answer["content"]) <= forms


def test_names_of_operations_are_unique() -> None:
    names = [entry["operationId"] for entry in openapi.operations()]
    assert len(names) == len(set(names))


def test_the_snapshot_is_what_the_code_says() -> None:
    snapshot = (Path(settings.BASE_DIR) / "docs" / "openapi.json").read_text(encoding="utf-8")
    assert snapshot == openapi.schema_text(), "run `manage.py openapi --write` and review the difference"


def test_the_document_is_served_and_not_again_to_who_has_it(db: None) -> None:
    first = Api().get("/openapi.json")
    assert first.json() == openapi.schema()
    again = Api().get("/openapi.json", If_None_Match=first["ETag"])
    assert (again.status_code, again.content) == (304, b"")
