"""Tenancy fails closed."""

import threading
from uuid import uuid4

import pytest

from apps.accounts.models import Membership
from apps.core.tenancy import TenancyError, current_org_id, in_system_scope, org_scope, system_scope
from apps.projects.models import ApiKey, Project
from tests.cast import Cast


def test_rows_of_an_organisation_cannot_be_asked_for_outside_a_scope(cast: Cast) -> None:
    for work in (
        lambda: list(Project.objects.all()),
        lambda: Project.objects.filter(pk=cast.project.id).exists(),
        lambda: Project.objects.count(),
        lambda: Project._base_manager.count(),
        lambda: Project.objects.create(org_id=cast.org.id, name="x", slug="x"),
        lambda: Project.objects.bulk_create([Project(org_id=cast.org.id, name="x", slug="x")]),
    ):
        with pytest.raises(TenancyError):
            work()


def test_a_scope_shows_its_own_rows_and_no_others(cast: Cast) -> None:
    with org_scope(cast.org.id):
        assert [project.pk for project in Project.objects.all()] == [cast.project.id]
        assert not Project.objects.filter(pk=cast.their_project.id).exists()
        assert Project.objects.filter(pk=cast.their_project.id).update(name="mine") == 0
        assert Project.objects.filter(pk=cast.their_project.id).delete()[0] == 0


def test_a_scope_refuses_to_write_another_organisations_row(cast: Cast) -> None:
    with system_scope("the test takes a row of the other"):
        theirs = Project.objects.get(pk=cast.their_project.id)
    with org_scope(cast.org.id):
        for work in (
            theirs.save,
            theirs.delete,
            lambda: Project.objects.create(org_id=cast.elsewhere.id, name="x", slug="x"),
            lambda: Project.objects.bulk_create([Project(org_id=cast.elsewhere.id, name="x", slug="x")]),
        ):
            with pytest.raises(TenancyError):
                work()


def test_a_row_made_in_a_scope_belongs_to_it(cast: Cast) -> None:
    with org_scope(cast.org.id):
        assert Project.objects.create(name="y", slug="y").org_id == cast.org.id


def test_related_rows_are_reached_through_the_scoped_manager_too(cast: Cast) -> None:
    with system_scope("the test looks at all"):
        project = Project.objects.get(pk=cast.project.id)
    with pytest.raises(TenancyError):
        project.keys.count()
    with org_scope(cast.elsewhere.id):
        assert project.keys.count() == 0


def test_scopes_nest_and_end(cast: Cast) -> None:
    assert current_org_id() is None
    with org_scope(cast.org.id):
        with org_scope(cast.elsewhere.id):
            assert current_org_id() == cast.elsewhere.id
        with system_scope("both at once"):
            assert in_system_scope()
            assert Membership.objects.count() >= 6
        assert current_org_id() == cast.org.id
    assert not in_system_scope()


def test_a_thread_starts_without_a_scope(cast: Cast) -> None:
    seen: list[object] = []
    with org_scope(cast.org.id):
        thread = threading.Thread(target=lambda: seen.append(current_org_id()))
        thread.start()
        thread.join()
    assert seen == [None]


def test_a_scope_takes_an_id_and_a_reason() -> None:
    with pytest.raises(TenancyError), org_scope(str(uuid4())):  # type: ignore[arg-type]
        pass
    with pytest.raises(TenancyError), system_scope(""):
        pass


def test_the_database_refuses_a_key_under_another_organisations_project(cast: Cast) -> None:
    """The second line: composite foreign keys."""
    from django.db import IntegrityError, connection, transaction

    def break_in() -> None:
        with system_scope("the test breaks in"), transaction.atomic(), connection.cursor() as cursor:
            ApiKey.objects.create(
                org_id=cast.org.id, project_id=cast.their_project.id, name="x", prefix="mw_x", digest=b"x" * 32,
                scopes=[],
            )  # fmt: skip
            cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")

    with pytest.raises(IntegrityError):
        break_in()
