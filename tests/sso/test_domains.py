"""Domains: proved by a record that a real name server tells, looked after, and nobody's twice."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from apps.core.clock import now
from apps.core.errors import Conflict, NotFound, ValidationFailed
from apps.core.tenancy import org_scope, system_scope
from apps.scheduler.registry import get_job
from apps.sso import services
from apps.sso.models import Domain
from apps.sso.selectors import verified_domains
from tests.cast import Cast, published, trail
from tests.sso.nameserver import NameServer


def recheck() -> Any:
    with system_scope("as the clock runs it"):
        return get_job("sso.recheck_domains").function()


@pytest.mark.parametrize("place", ["_mindweave-challenge.looms.example", "looms.example"])
@pytest.mark.parametrize("form", ["mindweave-verification={}", "{}"])
def test_a_record_proves_a_domain(place: str, form: str, cast: Cast, nameserver: NameServer) -> None:
    domain = services.add_domain(org_id=cast.org.id, name=" Looms.Example. ")
    assert domain.name == "looms.example"
    token = domain.value.removeprefix("mindweave-verification=")
    nameserver.records[place] = ["v=spf1 -all", form.format(token)]
    assert services.verify_domain(org_id=cast.org.id, domain_id=domain.id).verified_at is not None
    assert verified_domains(cast.org.id) == {"looms.example"}
    assert published("sso.domain_verified")[-1]["name"] == "looms.example"
    assert len(trail("sso.domain_verified")) == 1


def test_without_the_record_nothing_is_proved(cast: Cast, nameserver: NameServer) -> None:
    domain = services.add_domain(org_id=cast.org.id, name="looms.example")
    for records in ([], ["mindweave-verification=another"], [f"x{domain.value}"]):
        nameserver.records[domain.record] = records
        with pytest.raises(Conflict) as refused:
            services.verify_domain(org_id=cast.org.id, domain_id=domain.id)
        assert refused.value.code == "record_missing"
    nameserver.silent = True
    with pytest.raises(Conflict) as refused:
        services.verify_domain(org_id=cast.org.id, domain_id=domain.id)
    assert refused.value.code == "dns_unavailable"
    assert verified_domains(cast.org.id) == frozenset()
    assert trail("sso.domain_verified") == []


@pytest.mark.parametrize(
    "name",
    ["gmail.com", "mail.gmail.com", "com", "", "-a.example", "a..example", "127.0.0.1", "a b.example", "x" * 300],
)
def test_what_is_nobodys_own_domain_is_refused(name: str, cast: Cast) -> None:
    with pytest.raises(ValidationFailed):
        services.add_domain(org_id=cast.org.id, name=name)
    assert trail("sso.domain_added") == []


def test_a_domain_has_one_owner(cast: Cast, nameserver: NameServer, prove: Callable[..., Any]) -> None:
    prove(cast.org.id, "looms.example")
    theirs = services.add_domain(org_id=cast.elsewhere.id, name="looms.example")
    nameserver.records[theirs.record] = [theirs.value]
    with pytest.raises(Conflict) as refused:
        services.verify_domain(org_id=cast.elsewhere.id, domain_id=theirs.id)
    assert refused.value.code == "domain_taken"
    assert verified_domains(cast.elsewhere.id) == frozenset()
    with pytest.raises(NotFound):
        services.verify_domain(org_id=cast.org.id, domain_id=theirs.id)


def test_a_domain_whose_record_stays_away_lapses_after_the_days_of_grace(
    cast: Cast, nameserver: NameServer, prove: Callable[..., Any]
) -> None:
    domain = prove(cast.org.id, "looms.example")
    assert recheck() == {"kept": 1}
    nameserver.records.clear()
    assert recheck() == {"failing": 1}
    assert recheck() == {"failing": 1}
    assert len(trail("sso.domain_failing")) == 1
    assert verified_domains(cast.org.id) == {"looms.example"}
    with org_scope(cast.org.id):
        Domain.objects.filter(pk=domain.id).update(failing_since=now() - timedelta(days=8))
    nameserver.silent = True
    assert recheck() == {"lapsed": 1}
    assert verified_domains(cast.org.id) == frozenset()
    assert published("sso.domain_lapsed") == [{"domain_id": str(domain.id), "name": "looms.example"}]


def test_a_record_that_comes_back_counts_from_the_start(
    cast: Cast, nameserver: NameServer, prove: Callable[..., Any]
) -> None:
    domain = prove(cast.org.id, "looms.example")
    nameserver.silent = True
    recheck()
    nameserver.silent = False
    assert recheck() == {"kept": 1}
    with org_scope(cast.org.id):
        assert Domain.objects.get(pk=domain.id).failing_since is None
