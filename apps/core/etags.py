"""``ETag`` and ``If-Match``: nobody overwrites what they have not seen (RFC 9110, section 13.1.1)."""

from apps.core.errors import PreconditionFailed

__all__ = ["etag", "require_version"]


def etag(version: object) -> str:
    """The ETag of a version."""
    return f'"{version}"'


def require_version(if_match: str | None, version: object) -> None:
    """Refuse a change of another version than those that ``If-Match`` names; without the header all may change.

    To be asked once the row is locked, so that of two changes of one version only the first comes through.
    """
    if if_match is None or if_match.strip() == "*":
        return
    if etag(version) not in {part.strip() for part in if_match.split(",")}:
        raise PreconditionFailed("It has changed since; read it again", code="stale")
