"""Staff may look at everything the engine keeps."""

from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.test import RequestFactory

from apps.core.tenancy import system_scope
from apps.usage import models
from apps.usage.drain.shard import drain_now
from apps.usage.services import ingest
from mindweave.admin_site import staff_site as site
from tests.usage.engine.conftest import World, typed

MODELS = [getattr(models, name) for name in models.__all__ if name not in {"Price", "PriceBookVersion"}]


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
def test_every_table_of_the_engine_lists_its_rows_and_takes_no_writes(world: World, model: Any) -> None:
    ingest(key=world.key, events=[typed(session_id="s", user_id=str(world.alice))])
    drain_now()
    ingest(key=world.key, events=[typed()])
    admin = site._registry[model]
    request = RequestFactory().get("/admin/")
    request.user = get_user_model()(is_staff=True, is_superuser=True, is_active=True)
    assert not admin.has_add_permission(request)
    assert not admin.has_change_permission(request)
    assert not admin.has_delete_permission(request)
    with system_scope("test"):
        assert isinstance(list(admin.get_queryset(request).order_by(*admin.get_ordering(request))[:5]), list)
