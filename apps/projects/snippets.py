"""Ready commands that send usage with a key. They are templates, so that what people copy is tested as shown."""

from dataclasses import dataclass

from django.conf import settings
from django.http import HttpRequest
from django.template.loader import render_to_string
from django.utils.safestring import SafeString

__all__ = ["PLACEHOLDER", "Snippet", "public_url", "snippets"]

# Stands for the key where it is not known any more.
PLACEHOLDER = "mw_…"

_KINDS = (
    (
        "claude-code",
        "Claude Code",
        "Put it into ~/.claude/settings.json, or a whole team's managed settings; then start claude and ask anything. "
        "It sends counts, cost and timing, no prompts.",
    ),
    ("curl", "curl", "Sends one call, stamped now."),
    ("python", "Python", "Needs nothing but Python 3.11: replace the numbers by those of your client's answer."),
    ("typescript", "TypeScript", "Needs nothing but Node 20: replace the numbers by those of your client's answer."),
    (
        "collector",
        "OpenTelemetry Collector",
        "For a Collector that your clients send to already: join the exporter to its pipelines. Spans and logs of the "
        "GenAI conventions and of Claude Code are read, the rest is left.",
    ),
)


@dataclass(frozen=True, slots=True)
class Snippet:
    """One way to send: ``code`` is marked up for reading, its text is what is copied."""

    key: str
    label: str
    hint: str
    code: SafeString


def public_url(request: HttpRequest) -> str:
    """The address that people type: what they see in the browser, or the configured one over HTTPS."""
    configured: str = settings.PUBLIC_URL
    return configured if configured.startswith("https://") else f"{request.scheme}://{request.get_host()}"


def snippets(*, base_url: str, token: str | None) -> list[Snippet]:
    """All ways, with ``token`` filled in, or a placeholder for it."""
    context = {"url": base_url.rstrip("/"), "key": token or PLACEHOLDER}
    return [
        Snippet(key, label, hint, SafeString(render_to_string(f"snippets/{key}.html", context).strip()))
        for key, label, hint in _KINDS
    ]
