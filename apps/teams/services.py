"""Writes of teams and invitations."""

from apps.teams.bulk import add_members_to_team, change_member_roles, remove_members
from apps.teams.grants import end_team_access, give_team_access
from apps.teams.groups import add_team_member, create_team, delete_team, remove_team_member, update_team
from apps.teams.invitations import (
    accept_invitation,
    invite_member,
    invite_members,
    prune_invitations,
    resend_invitation,
    revoke_invitation,
)

__all__ = [
    "accept_invitation",
    "add_members_to_team",
    "add_team_member",
    "change_member_roles",
    "create_team",
    "delete_team",
    "end_team_access",
    "give_team_access",
    "invite_member",
    "invite_members",
    "prune_invitations",
    "remove_members",
    "remove_team_member",
    "resend_invitation",
    "revoke_invitation",
    "update_team",
]
