"""A member of staff in the staff admin, and everybody else."""

import pytest
from django.test import Client

from apps.identity.models import User
from mindweave.admin_site import StaffSite
from tests.cast import cast  # noqa: F401 - the fixture of everybody


@pytest.fixture
def clerk(db) -> User:
    return User.objects.create(email="staff@mindweave.example", name="Staff", is_staff=True)


@pytest.fixture
def office(clerk, monkeypatch) -> Client:
    """Somebody whose second factor was proved; that itself is tested with identity."""
    monkeypatch.setattr(StaffSite, "has_permission", lambda self, request: request.user.is_staff)
    client = Client(headers={"accept": "text/html"})
    client.force_login(clerk)
    return client
