"""What the trail says of people is sealed, read by whoever may, and unreadable once its key is destroyed."""

from datetime import timedelta
from uuid import UUID

import pytest
from django.conf import settings as django_settings
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from apps.audit import keys
from apps.audit.chain import seal_all
from apps.audit.contracts import AuditFilter
from apps.audit.models import AuditEntry
from apps.audit.sealed import ERASED
from apps.audit.selectors import audit_list, forgotten_since
from apps.audit.services import forget_org, forget_person, maintain, record, set_retention
from apps.core import clock
from apps.core.contracts import ANONYMOUS, Actor
from apps.core.ids import uuid7
from apps.core.rotation import rotate_all
from apps.core.tenancy import org_scope, system_scope
from tests.audit.chains import ALICE, entry, query, verified
from tests.cast import trail

pytestmark = pytest.mark.django_db(transaction=True)
EMAIL = "bob@example.com"


def read(entry_id: UUID) -> AuditEntry:
    with system_scope("the test looks at all"):
        return AuditEntry.objects.get(pk=entry_id)


def stored(entry_id: UUID) -> str:
    """The row as the database has it, without what is in boxes."""
    [(row,)] = query("SELECT (to_jsonb(e) - 'sealed')::text FROM audit_entry e WHERE id = %s", entry_id)
    return row


def person(name: str) -> Actor:
    return Actor("user", id=uuid7(), label=f"{name}@example.com", ip="192.0.2.9", user_agent="Opera")


def test_nothing_personal_stands_in_the_table_in_the_clear() -> None:
    bob = uuid7()
    entry_id = entry(
        uuid7(), target_type="member", target_id=bob, target_label=EMAIL, reason="asked by carol@example.com",
        before={"name": "Bob", "role": "viewer"}, after={"name": "Robert", "role": "admin"},
    )  # fmt: skip
    row = stored(entry_id)
    for secret in ("alice", "192.0.2.7", "Firefox", "bob@", "Robert", "carol", "viewer"):
        assert secret not in row
    assert str(bob) in row
    found = read(entry_id)
    assert (found.actor_label, found.ip, found.user_agent) == ("alice@example.com", "192.0.2.7", "Firefox")
    assert (found.target_label, found.reason) == (EMAIL, "asked by carol@example.com")
    assert found.changes == {"name": ["Bob", "Robert"], "role": ["viewer", "admin"]}
    assert not found.erased


def test_an_erased_person_cannot_be_read_and_the_chain_stays_whole() -> None:
    org_id, bob, other = uuid7(), person("bob"), person("other")
    ids = [
        entry(org_id, actor=bob, after={"x": 1}),
        entry(org_id, target_type="member", target_id=bob.id, target_label=EMAIL, after={"role": "admin"}),
        entry(org_id, actor=other),
    ]
    outside = entry(None, actor=bob, target_type="user", target_id=bob.id, target_label=EMAIL)
    seal_all()
    assert forget_person(user_id=bob.id) == 2, "in the organisation and outside"
    did, was_done_to, others = map(read, ids)
    assert (did.actor_label, did.ip, did.user_agent, did.actor_id) == (ERASED, None, "", bob.id)
    assert did.changes == {"x": [None, 1]}, "what was done stays"
    assert (was_done_to.target_label, was_done_to.actor_label) == (ERASED, "alice@example.com")
    assert was_done_to.changes == {"role": [None, "admin"]}
    assert others.actor_label == "other@example.com"
    assert read(outside).target_label == ERASED
    assert verified(org_id).is_whole
    (told,) = trail("audit.person_forgotten", target_id=str(bob.id))
    assert told.changes == {"keys_destroyed": [None, 2]}


def test_an_erased_person_stays_erased() -> None:
    org_id, bob = uuid7(), person("bob")
    forget_person(user_id=bob.id)
    keys.forget_cached_keys()
    late = entry(None, actor=bob)
    assert read(late).actor_label == ERASED
    assert entry(org_id, actor=bob), "nor does it keep anything from being recorded"


def test_another_process_that_remembers_a_key_seals_nothing_readable() -> None:
    bob = person("bob")
    entry(None, actor=bob)
    with connection.cursor() as cursor:  # as another process does it: this one's memory stays
        cursor.execute("UPDATE audit_key SET sealed_key = NULL, destroyed_at = now() WHERE person_id = %s", [bob.id])
    assert read(entry(None, actor=bob)).actor_label == ERASED


def test_an_erased_organisation_cannot_be_read_and_its_chain_stays_whole() -> None:
    org_id, elsewhere = uuid7(), uuid7()
    here, there = (entry(org, target_label="Looms", reason="why", after={"x": 1}) for org in (org_id, elsewhere))
    seal_all()
    assert forget_org(org_id=org_id) == 2, "its own key, and Alice's in it"
    found = read(here)
    assert (found.actor_label, found.target_label, found.reason, found.changes) == (ERASED, ERASED, "", {})
    assert read(there).actor_label == "alice@example.com"
    assert verified(org_id).is_whole
    assert trail("audit.org_forgotten", target_id=str(org_id))


def test_an_address_is_forgotten_with_the_person_it_turns_out_to_be() -> None:
    org_id = uuid7()
    invited = entry(org_id, target_type="invitation", target_id=uuid7(), target_label=EMAIL, after={"email": EMAIL})
    assert read(invited).target_label == EMAIL
    assert EMAIL not in str(query("SELECT subject FROM audit_key WHERE org_id = %s", org_id))
    forget_person(user_id=uuid7(), emails=["Bob@Example.com"])
    assert read(invited).target_label == ERASED
    assert read(invited).changes == {}


def test_an_address_is_found_to_be_forgotten_when_the_peppers_are_others(settings) -> None:
    settings.TOKEN_PEPPERS = ["one-pepper-of-the-test-that-will-be-taken-away"]
    invited = entry(uuid7(), target_type="invitation", target_id=uuid7(), target_label=EMAIL)
    settings.TOKEN_PEPPERS = ["another-pepper-of-the-test-and-the-only-one"]
    keys.forget_cached_keys()
    forget_person(user_id=uuid7(), emails=[EMAIL])
    assert read(invited).target_label == ERASED


def test_whoever_else_an_entry_names_is_forgotten_by_themselves() -> None:
    org_id, staff, member = uuid7(), uuid7(), uuid7()
    after, people = {"staff": "sam@mindweave.test", "until": "noon"}, {"staff": staff}
    told = entry(org_id, target_type="user", target_id=member, target_label=EMAIL, after=after, people=people)
    assert "sam@" not in stored(told)
    assert read(told).changes == {"staff": [None, "sam@mindweave.test"], "until": [None, "noon"]}
    forget_person(user_id=staff)
    assert (read(told).changes, read(told).target_label) == ({"until": [None, "noon"]}, EMAIL)
    forget_person(user_id=member)
    assert read(told).target_label == ERASED


def at_address(org_id: UUID) -> list[tuple[bytes]]:
    return query("SELECT ip_mark FROM audit_address WHERE org_id = %s ORDER BY 1", org_id)


def found_at(org_id: UUID, ip: str) -> int:
    with org_scope(org_id):
        return audit_list(AuditFilter(ip=ip)).count()


def test_where_somebody_was_goes_with_them_and_does_not_come_back() -> None:
    org_id, bob = uuid7(), person("bob")
    for actor in (ALICE, bob, ALICE):
        entry(org_id, actor=actor)
    entry(uuid7(), actor=bob)
    assert len(at_address(org_id)) == 2, "once each"
    assert "192.0.2" not in str(query("SELECT * FROM audit_address WHERE org_id = %s", org_id))
    assert bob.id
    assert bob.ip
    assert found_at(org_id, bob.ip) == 1
    before = at_address(org_id)
    forget_person(user_id=bob.id)
    assert found_at(org_id, bob.ip) == 0
    assert len(kept := at_address(org_id)) == 1
    with clock.freeze(clock.now() + timedelta(days=1)):  # a process that remembers the key
        entry(org_id, actor=bob)
    assert at_address(org_id) == kept
    assert set(kept) < set(before)
    forget_org(org_id=org_id)
    assert at_address(org_id) == []


def test_where_people_were_is_known_as_long_as_their_entries_are_kept() -> None:
    org_id, moment = uuid7(), clock.now()
    entry(org_id)
    with clock.freeze(moment + timedelta(days=60)):
        entry(org_id, actor=person("bob"))
        set_retention(org_id=org_id, days=90)
    for days, known in ((121, 1), (125, 0)):
        with clock.freeze(moment + timedelta(days=days)), transaction.atomic():
            maintain()
            assert (found_at(org_id, "192.0.2.7"), found_at(org_id, "192.0.2.9")) == (known, 1)
            transaction.set_rollback(True)


def test_strangers_share_a_key_a_month_that_is_destroyed_after_ninety_days() -> None:
    stranger = Actor(ANONYMOUS.kind, ip="198.51.100.4", user_agent="curl")
    ids = [
        entry(None, actor=stranger, target_type="user", target_id="unknown", target_label=f"n{n}@example.com")
        for n in range(3)
    ]
    assert len({box["key"] for entry_id in ids for box in read(entry_id).sealed}) == 1
    assert read(ids[0]).target_label == "n0@example.com"
    org_id = uuid7()
    entry(org_id, actor=stranger)
    with clock.freeze(clock.now() + timedelta(days=125)), transaction.atomic():
        django_settings.AUDIT_RETENTION_DAYS = 400
        before = clock.now()
        maintain()
        # Their time has come, nobody was erased: copies made of the trail before are still good.
        with org_scope(org_id):
            assert not forgotten_since(org_id, before)
        found = read(ids[0])
        assert (found.target_label, found.ip) == (ERASED, None)
        transaction.set_rollback(True)


def test_a_page_of_entries_of_many_people_takes_one_query_for_their_keys() -> None:
    org_id = uuid7()
    for number in range(6):
        entry(org_id, actor=person(f"p{number}"))
    with system_scope("the test looks at all"), CaptureQueriesContext(connection) as captured:
        rows = list(AuditEntry.objects.filter(org_id=org_id))
    assert sorted(row.actor_label for row in rows) == [f"p{number}@example.com" for number in range(6)]
    assert len(captured) == 2


def test_a_rolled_back_first_act_leaves_a_key_that_goes_on_being_used() -> None:
    bob = person("bob")
    with transaction.atomic():
        from apps.core.context import bind

        with bind(actor=bob):
            record(action="job.enabled", org_id=None, target_type="test", target_id="t")
        transaction.set_rollback(True)
    assert read(entry(None, actor=bob)).actor_label == "bob@example.com"
    assert len(query("SELECT 1 FROM audit_key WHERE person_id = %s", bob.id)) == 1


def test_keys_are_resealed_under_a_new_field_key(settings) -> None:
    entry_id = entry(None)
    seal_all()
    settings.FIELD_ENCRYPTION_KEYS = ["a-new-field-key-of-the-tests", *_present(settings)]
    done = rotate_all()
    assert done["audit_key.sealed_key"] >= 1
    assert done["audit_signing_key.private_pem"] >= 1
    settings.FIELD_ENCRYPTION_KEYS = ["a-new-field-key-of-the-tests"]
    keys.forget_cached_keys()
    assert read(entry_id).actor_label == ALICE.label
    settings.FIELD_ENCRYPTION_KEYS = ["a-new-field-key-of-the-tests", *_present(settings)]
    # Back again, for the tests that come after in the same database.
    settings.FIELD_ENCRYPTION_KEYS = [*_present(settings), "a-new-field-key-of-the-tests"]
    rotate_all()


def _present(settings) -> list[str]:
    return [settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS]
