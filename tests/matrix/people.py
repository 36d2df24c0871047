"""Who walks the matrix beside the cast: members with roles that the organisation made, one of them with grants."""

from apps.accounts.services import add_member, create_role
from apps.projects.services import give_project_access
from apps.teams.services import give_team_access
from tests.cast import Api, Cast, make_person, rights_of

__all__ = ["NARROW", "everybody"]

# What all built-in roles may do, so that rows for everybody are for these two as well.
_FLOOR = ("org.read", "usage.read", "price.read", "view.save")
NARROW = frozenset({"usage.read", "view.save"})


def everybody(cast: Cast) -> dict[str, Api]:
    """A client of each member by role, of a stranger and of nobody; ``narrow`` may do next to nothing."""
    roles = {"custom": (*_FLOOR, "usage.import"), "granted": _FLOOR, "narrow": sorted(NARROW)}
    people = {}
    for name, capabilities in roles.items():
        people[name] = make_person(name)
        role = create_role(org_id=cast.org.id, name=f"The {name} role", capabilities=capabilities)
        add_member(org_id=cast.org.id, user_id=people[name].id, role=role.key)
    for person, rights in (
        (people["granted"], ("project.manage", "key.read", "usage.read")),
        (cast.dora, ("project.read",)),
    ):
        give_project_access(org_id=cast.org.id, project_id=cast.project.id, grantee_id=person.id, capabilities=rights)
    for person, rights in ((people["granted"], ("team.manage",)), (cast.dora, ("team.read",))):
        give_team_access(org_id=cast.org.id, team_id=cast.team.id, user_id=person.id, capabilities=rights)
    return {**rights_of(cast), **{name: Api(person) for name, person in people.items()}}
