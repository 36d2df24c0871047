"""What analytics records."""

from apps.audit.registry import register_actions

register_actions(
    {
        "view.created": "A view was saved",
        "view.updated": "A saved view changed",
        "view.deleted": "A saved view was deleted",
    }
)
