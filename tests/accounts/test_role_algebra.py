"""The algebra of roles and grants, by random play: whatever people do, nobody comes to more than there was to give.

Each play is a sequence of what several people try: to make, change and delete roles, to give and take them, to give
and take rights on a project and a team, to put people into teams. Most of it is refused. What is true before holds
after each step.
"""

from typing import Any
from uuid import UUID

from django.db import transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.django import TestCase

from apps.accounts import selectors, services
from apps.accounts.permissions import (
    CAPABILITIES,
    OWNER_ONLY,
    ROLE_CAPABILITIES,
    capabilities_of_role,
    may_give,
)
from apps.core.errors import MindWeaveError
from apps.projects import permissions as on_projects
from apps.projects.contracts import PROJECT_RIGHTS
from apps.projects.services import create_project, end_project_access, give_project_access
from apps.teams import permissions as on_teams
from apps.teams.contracts import TEAM_RIGHTS
from apps.teams.services import add_team_member, create_team, end_team_access, give_team_access
from tests.cast import make_person

MADE = sorted(CAPABILITIES - OWNER_ONLY)
# What lets somebody try at all is drawn more often than the rest.
GATES = ("member.manage", "project.manage", "role.manage", "team.manage")
SETS = st.tuples(st.sets(st.sampled_from(MADE), min_size=1, max_size=5), st.sets(st.sampled_from(GATES))).map(
    lambda drawn: sorted(drawn[0] | drawn[1])
)
# Those who try come from few, and what they try with is mostly theirs, so that a good part of it succeeds.
NUMBERS = st.integers(min_value=0, max_value=5)
STEPS = st.one_of(
    st.tuples(st.just("make role"), NUMBERS, SETS),
    st.tuples(st.just("change role"), NUMBERS, NUMBERS, SETS),
    st.tuples(st.just("delete role"), NUMBERS, NUMBERS, NUMBERS),
    st.tuples(st.just("give role"), NUMBERS, NUMBERS, NUMBERS),
    st.tuples(st.just("remove"), NUMBERS, NUMBERS),
    st.tuples(st.just("on project"), NUMBERS, NUMBERS, st.sets(st.sampled_from(PROJECT_RIGHTS.capabilities))),
    st.tuples(st.just("team on project"), NUMBERS, st.sets(st.sampled_from(PROJECT_RIGHTS.capabilities))),
    st.tuples(st.just("on team"), NUMBERS, NUMBERS, st.sets(st.sampled_from(TEAM_RIGHTS.capabilities))),
    st.tuples(st.just("into team"), NUMBERS, NUMBERS),
)


class World:
    """An organisation with an owner and five people whose roles are as random as what they try."""

    def __init__(self, roles: list[list[str]]) -> None:
        self.people = [make_person(f"p{number}") for number in range(6)]
        self.org = services.create_organization(owner_id=self.people[0].id, name="Play").id
        self.team = create_team(org_id=self.org, name="Team").id
        self.project = create_project(org_id=self.org, name="Project").id
        for person, held in zip(self.people[1:], roles, strict=True):
            role = services.create_role(org_id=self.org, name=f"Role of {person.email}", capabilities=held)
            services.add_member(org_id=self.org, user_id=person.id, role=role.key)

    # ------------------------------------------------------------ what is asked of it
    def held(self, person: UUID) -> frozenset[str]:
        return selectors.capabilities_for(org_id=self.org, user_id=person)

    def here(self, person: UUID) -> dict[str, frozenset[str]]:
        """All that somebody may do: everywhere, with the project, with the team."""
        return {
            "org": self.held(person),
            "project": on_projects.held_on_project(org_id=self.org, user_id=person, project_id=self.project),
            "team": on_teams.held_on_team(org_id=self.org, user_id=person, team_id=self.team),
        }

    def everybody(self) -> dict[UUID, dict[str, frozenset[str]]]:
        return {person.id: self.here(person.id) for person in self.people}

    def roles(self) -> list[Any]:
        return selectors.roles_of_org(self.org)

    def owners(self) -> int:
        return sum(member.role == "owner" for member in selectors.member_infos(self.org))

    # ------------------------------------------------------------ what is tried
    def attempt(self, step: tuple[Any, ...]) -> UUID:
        """Try a step as a view would let somebody; returns who tried."""
        kind, number, *rest = step
        actor = self.people[number % len(self.people)].id
        try:
            with transaction.atomic():
                self._needs(kind, actor)
                getattr(self, "_" + kind.replace(" ", "_"))(actor, *rest)
        except MindWeaveError:
            pass
        return actor

    def _needs(self, kind: str, actor: UUID) -> None:
        """What views ask before they call the service."""
        needed = {
            "make role": ("org", "role.manage"), "change role": ("org", "role.manage"),
            "delete role": ("org", "role.manage"), "give role": ("org", "member.manage"),
            "remove": ("org", "member.manage"), "on project": ("project", "project.manage"),
            "team on project": ("project", "project.manage"), "on team": ("team", "team.manage"),
            "into team": ("team", "team.manage"),
        }  # fmt: skip
        where, capability = needed[kind]
        if capability not in self.here(actor)[where]:
            raise MindWeaveError("refused")

    def _own_role(self, number: int) -> Any:
        made = [role for role in self.roles() if not role.built_in]
        if not made:
            raise MindWeaveError("there is none")
        return made[number % len(made)]

    def _make_role(self, actor: UUID, capabilities: list[str]) -> None:
        name = f"Made {len(self.roles())} {capabilities[0]}"
        services.create_role(org_id=self.org, name=name, capabilities=capabilities, by_user_id=actor)

    def _change_role(self, actor: UUID, number: int, capabilities: list[str]) -> None:
        role = self._own_role(number)
        services.update_role(org_id=self.org, role_id=role.id, changes={"capabilities": capabilities}, by_user_id=actor)

    def _delete_role(self, actor: UUID, number: int, other: int) -> None:
        role, roles = self._own_role(number), self.roles()
        services.delete_role(
            org_id=self.org, role_id=role.id, replacement=roles[other % len(roles)].key, by_user_id=actor
        )

    def _give_role(self, actor: UUID, whom: int, which: int) -> None:
        roles = self.roles()
        services.change_member_role(
            org_id=self.org, user_id=self.people[whom % 6].id, role=roles[which % len(roles)].key, by_user_id=actor
        )

    def _remove(self, actor: UUID, whom: int) -> None:
        services.remove_member(org_id=self.org, user_id=self.people[whom % 6].id, by_user_id=actor)

    def _on_project(self, actor: UUID, whom: int, capabilities: set[str]) -> None:
        self._access(actor, self.people[whom % 6].id, capabilities)

    def _team_on_project(self, actor: UUID, capabilities: set[str]) -> None:
        self._access(actor, self.team, capabilities)

    def _access(self, actor: UUID, grantee: UUID, capabilities: set[str]) -> None:
        where = {"org_id": self.org, "project_id": self.project, "grantee_id": grantee, "by_user_id": actor}
        if capabilities:
            give_project_access(capabilities=sorted(capabilities), **where)
        else:
            end_project_access(**where)

    def _on_team(self, actor: UUID, whom: int, capabilities: set[str]) -> None:
        where = {"org_id": self.org, "team_id": self.team, "user_id": self.people[whom % 6].id, "by_user_id": actor}
        if capabilities:
            give_team_access(capabilities=sorted(capabilities), **where)
        else:
            end_team_access(**where)

    def _into_team(self, actor: UUID, whom: int) -> None:
        add_team_member(org_id=self.org, team_id=self.team, user_id=self.people[whom % 6].id, by_user_id=actor)


class RoleAlgebra(TestCase):
    @given(roles=st.lists(SETS, min_size=5, max_size=5), steps=st.lists(STEPS, min_size=8, max_size=20))
    @settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    def test_nobody_gives_or_comes_to_what_whoever_did_it_does_not_hold(
        self, roles: list[list[str]], steps: list[tuple[Any, ...]]
    ) -> None:
        world = World(roles)
        before = world.everybody()
        for step in steps:
            actor = world.attempt(step)
            after = world.everybody()
            for person, now in after.items():
                for where, held in now.items():
                    gained = held - before[person][where]
                    # Whoever acts gains nothing; others gain no more than the one who acted held there.
                    assert gained <= (frozenset() if person == actor else before[actor][where]), (step, person, where)
            assert world.owners() >= 1, step
            for role in world.roles():
                assert role.built_in or not role.capabilities & OWNER_ONLY
            before = after

    @given(
        roles=st.lists(SETS, min_size=5, max_size=5),
        grants=st.lists(
            st.tuples(st.integers(1, 5), st.sets(st.sampled_from(PROJECT_RIGHTS.capabilities), min_size=1)), max_size=6
        ),
    )
    @settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    def test_grants_only_add(self, roles: list[list[str]], grants: list[tuple[int, set[str]]]) -> None:
        world = World(roles)
        bare = world.everybody()
        for whom, capabilities in grants:
            person = world.people[whom].id
            give_project_access(
                org_id=world.org, project_id=world.project, grantee_id=person, capabilities=sorted(capabilities)
            )
            held = world.here(person)
            assert held["project"] >= bare[person]["project"] | capabilities | {"project.read"}
            assert (held["org"], held["team"]) == (bare[person]["org"], bare[person]["team"])
        for whom in {whom for whom, _ in grants}:
            end_project_access(org_id=world.org, project_id=world.project, grantee_id=world.people[whom].id)
        assert world.everybody() == bare

    @given(lower=SETS, more=SETS)
    @settings(max_examples=15, deadline=None)
    def test_a_role_that_holds_more_may_do_and_give_all_that_one_does_which_holds_less(
        self, lower: list[str], more: list[str]
    ) -> None:
        owner, low, high = (make_person(name) for name in ("owner", "low", "high"))
        org = services.create_organization(owner_id=owner.id, name="Two").id
        below = services.create_role(org_id=org, name="Below", capabilities=lower)
        above = services.create_role(org_id=org, name="Above", capabilities=sorted({*lower, *more}))
        services.add_member(org_id=org, user_id=low.id, role=below.key)
        services.add_member(org_id=org, user_id=high.id, role=above.key)
        assert selectors.capabilities_for(org_id=org, user_id=low.id) <= selectors.capabilities_for(
            org_id=org, user_id=high.id
        )
        for role in [*ROLE_CAPABILITIES, below.key, above.key]:
            if may_give(org_id=org, by_user_id=low.id, role=role):
                assert may_give(org_id=org, by_user_id=high.id, role=role)
            expected = capabilities_of_role(org_id=org, role=role) <= above.capabilities
            assert may_give(org_id=org, by_user_id=high.id, role=role) == expected
        assert may_give(org_id=org, by_user_id=high.id, role=below.key)
        assert below.rank <= above.rank
        assert (below.rank == above.rank) == (below.capabilities == above.capabilities)
