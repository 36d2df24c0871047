from django.apps import AppConfig


class TeamsConfig(AppConfig):
    name = "apps.teams"
    label = "teams"

    def ready(self) -> None:
        from apps.accounts.ports import RoleUse, promised_seats, register_role_use
        from apps.core.access import access_facts
        from apps.core.registry import NavItem, StaffOrgPanel, nav_grants, settings_tabs, staff_org_panels
        from apps.teams import events, peppered, personal  # noqa: F401 - events registers what this app publishes and records
        from apps.teams.access_facts import team_facts
        from apps.teams.invitation_selectors import InvitedSeats
        from apps.teams.invitations import count_of_role, replace_role
        from apps.teams.permissions import given_somewhere
        from apps.teams.staff import invitations_panel, teams_panel

        access_facts.append(team_facts)
        peppered.register()
        personal.register()
        promised_seats.set(InvitedSeats())
        register_role_use(RoleUse("invitations", count_of_role, replace_role))

        nav_grants.append(given_somewhere)
        for tab in (
            NavItem("members", "Members", "members", "users", order=20, capability="member.read"),
            NavItem("teams", "Teams", "teams", "user", order=30, capability="team.read", granted=True),
        ):
            settings_tabs.register(tab)
        staff_org_panels.register(StaffOrgPanel("invitations", "Invitations", invitations_panel, order=25))
        staff_org_panels.register(StaffOrgPanel("teams", "Teams", teams_panel, order=40))
