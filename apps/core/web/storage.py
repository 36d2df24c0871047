"""Static files under names that carry their content's hash, so that browsers may keep them for ever."""

from whitenoise.storage import CompressedManifestStaticFilesStorage  # type: ignore[import-untyped]

__all__ = ["StaticStorage"]


class StaticStorage(CompressedManifestStaticFilesStorage):
    """Hashed and compressed once ``collectstatic`` has run; before that the plain names, out of the source tree.

    One class for both, because what collects is the process that found nothing collected when it started.
    """

    manifest_strict = False

    def stored_name(self, name: str) -> str:
        return str(super().stored_name(name)) if self.hashed_files else name
