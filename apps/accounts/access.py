"""The access review: who can get in and do what, filtered, and the records of those who looked it through."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Final
from uuid import UUID

from apps.accounts.capabilities import PERMISSIONS, held_of
from apps.accounts.contracts import AccessReviewInfo
from apps.accounts.models import AccessReview, Membership, Organization, ReviewEvery
from apps.accounts.role_selectors import with_role
from apps.core.access import BATCH, AccessEntry, AccessFacts, AccessSource, access_facts, access_sources
from apps.core.clock import now
from apps.core.errors import NotFound
from apps.core.tenancy import org_scope
from apps.identity import selectors as identity

__all__ = [
    "ADMINISTERS",
    "REVIEW_DAYS",
    "AccessFilter",
    "access_page",
    "access_rows",
    "counted",
    "last_reviews",
    "member_entries",
    "next_review",
    "review_due",
    "review_info",
    "source_of",
    "sources",
]

# What lets its holder change who may do what; those count as admins in a review.
ADMINISTERS: Final = frozenset({"member.manage", "role.manage", "sso.manage"})
# How many days lie between two reviews; an organisation that wants no reminder has none.
REVIEW_DAYS: Final = {ReviewEvery.QUARTER: 90, ReviewEvery.HALF_YEAR: 182, ReviewEvery.YEAR: 365}
# SOC 2 and ISO 27001 leave it to the organisation how often; a quarter is what auditors expect.
REVIEW_EVERY: Final = timedelta(days=90)


@dataclass(frozen=True, slots=True)
class AccessFilter:
    """Which entries: not used for so many days (0: any), only who administers, only who has no second factor."""

    unused_days: int = 0
    administers: bool = False
    no_second_factor: bool = False

    def keeps(self, entry: AccessEntry, moment: datetime) -> bool:
        """Whether an entry is among them. What was never used counts from when it came to be."""
        if self.administers and not entry.administers:
            return False
        if self.no_second_factor and entry.second_factor is not False:
            return False
        if not self.unused_days:
            return True
        used = entry.last_used_at or entry.since
        return used is None or used < moment - timedelta(days=self.unused_days)


def sources() -> list[AccessSource]:
    """The kinds of entries, in order."""
    return access_sources()


def source_of(key: str) -> AccessSource:
    """A kind by its word; :class:`NotFound` where there is none."""
    for source in access_sources():
        if source.key == key:
            return source
    raise NotFound("There is no such kind of access")


def access_rows(*, org_id: UUID, kind: str, asked: AccessFilter, after: UUID | None = None) -> Iterator[AccessEntry]:
    """The entries of one kind that a filter keeps, by id, read as they are asked for."""
    moment = now()
    # Each batch opens its own scope: one held over a yield would be the caller's too.
    for entry in source_of(kind).entries(org_id, after):
        if asked.keeps(entry, moment):
            yield entry


def access_page(
    *, org_id: UUID, kind: str, asked: AccessFilter, limit: int, after: UUID | None = None
) -> tuple[list[AccessEntry], UUID | None]:
    """At most ``limit`` entries after an id, and the id to go on after; None at the end."""
    found: list[AccessEntry] = []
    for entry in access_rows(org_id=org_id, kind=kind, asked=asked, after=after):
        if len(found) == limit:
            return found, found[-1].id
        found.append(entry)
    return found, None


# ---------------------------------------------------------------- members
def member_entries(org_id: UUID, after: UUID | None) -> Iterator[AccessEntry]:
    """Members with their role and what it holds; a few queries for each batch of 200."""
    while True:
        with org_scope(org_id):
            rows = with_role(Membership.objects.select_related("user")).order_by("user_id")
            batch = list((rows.filter(user_id__gt=after) if after else rows)[:BATCH])
        ids = [row.user_id for row in batch]
        unsecured = identity.users_without_factor(ids)
        known: dict[UUID, AccessFacts] = {}
        for facts in access_facts:
            for user_id, more in facts(org_id, ids).items():
                had = known.get(user_id, AccessFacts())
                known[user_id] = AccessFacts((*had.teams, *more.teams), (*had.on, *more.on))
        for row in batch:
            names = held_of(row.role, row.held)
            held = [each for each in PERMISSIONS if each.name in names]
            more = known.get(row.user_id, AccessFacts())
            yield AccessEntry(
                id=row.user_id,
                name=row.user.name or row.user.email,
                note=row.user.email if row.user.name else "",
                role=row.role_name or row.role.capitalize(),
                may=tuple(each.name for each in held),
                words=tuple(each.said for each in held),
                on=more.on,
                teams=more.teams,
                administers=bool(names & ADMINISTERS),
                second_factor=row.user_id not in unsecured,
                since=row.created_at,
                last_used_at=row.user.last_login,
                link=f"settings/members/{row.user_id}",
            )
        if len(batch) < BATCH:
            return
        after = ids[-1]


# ---------------------------------------------------------------- reviews
def review_info(review: AccessReview) -> AccessReviewInfo:
    """The contract of a row."""
    return AccessReviewInfo(
        id=review.pk,
        reviewed_at=review.created_at,
        reviewer_id=review.reviewer_id,
        reviewer=(review.reviewer.name or review.reviewer.email) if review.reviewer else "somebody who is gone",
        note=review.note,
        counts=dict(review.counts),
        next_due=review.next_due,
    )


def last_reviews(org_id: UUID, *, limit: int = 20) -> list[AccessReviewInfo]:
    """The latest reviews, newest first."""
    with org_scope(org_id):
        return [
            review_info(row)
            for row in AccessReview.objects.select_related("reviewer").order_by("-created_at", "-id")[:limit]
        ]


def review_due(org_id: UUID) -> date | None:
    """When the next review is due: as the latest one said, the first so long after the organisation was made.

    None where there was none yet and none is wanted.
    """
    with org_scope(org_id):
        latest: date | None = (
            AccessReview.objects.order_by("-created_at", "-id").values_list("next_due", flat=True).first()
        )
    if latest is not None:
        return latest
    org = Organization.objects.filter(pk=org_id).first()
    days = REVIEW_DAYS.get(ReviewEvery(org.access_review_every)) if org else None
    return org.created_at.date() + timedelta(days=days) if org and days else None


def next_review(org_id: UUID) -> date:
    """When a review of today says that the next one is due, where nothing else is said."""
    every = Organization.objects.values_list("access_review_every", flat=True).get(pk=org_id)
    days = REVIEW_DAYS.get(ReviewEvery(every))
    return now().date() + (timedelta(days=days) if days else REVIEW_EVERY)


def counted(org_id: UUID) -> dict[str, int]:
    """Kind → how many entries there are now."""
    nothing = AccessFilter()
    return {
        source.key: sum(1 for _ in access_rows(org_id=org_id, kind=source.key, asked=nothing)) for source in sources()
    }
