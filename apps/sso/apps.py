from django.apps import AppConfig


class SsoConfig(AppConfig):
    name = "apps.sso"
    label = "sso"
    verbose_name = "Single sign-on"

    def ready(self) -> None:
        from apps.core.access import AccessSource, register_source
        from apps.core.registry import NavItem, settings_tabs
        from apps.identity.ports import login_policy
        from apps.sso import events, notifications, peppered, personal, roles, subscribers  # noqa: F401 - events registers types
        from apps.sso.access_facts import token_entries
        from apps.sso.policy import SsoLoginPolicy

        register_source(
            AccessSource("scim_tokens", "Provisioning", token_entries, order=40, empty="No token of that kind works.")
        )
        login_policy.set(SsoLoginPolicy())
        tab = NavItem("sso", "Single sign-on", "sso_settings", "lock", order=60, capability="sso.manage")
        settings_tabs.register(tab)
        notifications.register()
        peppered.register()
        personal.register()
        roles.register()
        subscribers.register()
