"""The guide: what lies in ``docs/`` for people who use the product, as pages at ``/guide/``, open to anybody."""

import hashlib
import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils.html import escape
from django.utils.safestring import SafeString, mark_safe
from django.views.decorators.http import require_safe

from apps.core.errors import NotFound
from apps.core.web import markdown

__all__ = ["Page", "guide", "guide_image", "pages", "rendered", "search"]

# The order of the side list. A page of docs/guide/ that nobody put here stands under More.
SECTIONS = {
    "Begin": ("first-run", "connect", "projects-and-keys"),
    "Look": ("home", "usage", "costs", "sessions", "events"),
    "Run": ("settings", "members", "roles", "security", "account"),
}
# Documents above the guide that its pages lead to.
REFERENCE = ("definitions", "pricing", "imports", "live-events")
_PICTURE = re.compile(r"[a-z0-9][a-z0-9-]{0,80}\.webp")
_AWAY = re.compile(r"(https?:|mailto:)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Page:
    """A page of the guide: ``slug`` is its address (empty for the first), ``path`` its file."""

    slug: str
    path: Path
    section: str

    @property
    def url(self) -> str:
        return reverse("guide_page", args=[self.slug]) if self.slug else reverse("guide")

    @property
    def title(self) -> str:
        return rendered(self).title


@dataclass(frozen=True, slots=True)
class Hit:
    """A place where all wanted words stand."""

    page: str
    heading: str
    url: str
    excerpt: SafeString


def _docs() -> Path:
    return Path(settings.BASE_DIR) / "docs"


def pages() -> dict[str, Page]:
    """Every page by its slug, in the order of the side list."""
    there = {path.stem: path for path in sorted((_docs() / "guide").glob("*.md"))}
    found = {"": Page("", there.pop("README"), "")}
    for section, slugs in SECTIONS.items():
        found |= {slug: Page(slug, there.pop(slug), section) for slug in slugs if slug in there}
    found |= {slug: Page(slug, path, "More") for slug, path in there.items()}
    above = {slug: _docs() / f"{slug}.md" for slug in REFERENCE}
    return found | {slug: Page(slug, path, "Reference") for slug, path in above.items() if path.exists()}


# ---------------------------------------------------------------- rendering
_kept: dict[Path, tuple[int, markdown.Rendered]] = {}


def rendered(page: Page) -> markdown.Rendered:
    """The page as HTML; kept in this process until its file changes."""
    changed = page.path.stat().st_mtime_ns
    kept = _kept.get(page.path)
    if kept is None or kept[0] != changed:
        addresses = {each.path: each.url for each in pages().values()}
        text = page.path.read_text(encoding="utf-8")
        kept = (
            changed,
            markdown.render(
                text,
                link=lambda target: _address(page, target, addresses),
                picture=lambda source: _picture(page, source),
            ),
        )
        _kept[page.path] = kept
    return kept[1]


def _address(page: Page, target: str, addresses: dict[Path, str]) -> str | None:
    """Where a link of a document leads here: another page, elsewhere, or nowhere (files of the repository)."""
    if _AWAY.match(target) or target.startswith("#"):
        return target
    name, _, part = target.partition("#")
    address = addresses.get((page.path.parent / name).resolve())
    return f"{address}#{part}" if address and part else address


def _picture(page: Page, source: str) -> markdown.Picture | None:
    path = (page.path.parent / source).resolve()
    if path.parent != (_docs() / "img").resolve() or not _PICTURE.fullmatch(path.name) or not path.exists():
        return None
    digest, width, height = _measured(path, path.stat().st_mtime_ns)
    return markdown.Picture(f"{reverse('guide_image', args=[path.name])}?v={digest}", width, height)


@lru_cache(maxsize=256)
def _measured(path: Path, changed: int) -> tuple[str, int, int]:
    """Digest and size of a lossy WebP picture (RFC 9649, section 2.5, and RFC 6386, section 9.1)."""
    content = path.read_bytes()
    digest = hashlib.sha256(content).hexdigest()[:12]
    frame = content.find(b"VP8 ") + 8
    width, height = (int.from_bytes(content[at : at + 2], "little") & 0x3FFF for at in (frame + 6, frame + 8))
    return digest, width, height


# ---------------------------------------------------------------- search
def search(text: str) -> list[Hit]:
    """Parts of pages that hold every word of ``text``; those with all of them in the heading come first."""
    wanted = text.lower().split()[:8]
    hits: list[tuple[int, Hit]] = []
    for page in pages().values() if wanted else ():
        found = rendered(page)
        for heading in found.headings:
            head = f"{found.title} {heading.text}".lower()
            if not all(word in f"{head} {heading.words.lower()}" for word in wanted):
                continue
            url = page.url if heading.level <= 1 else f"{page.url}#{heading.id}"
            title = "" if heading.level <= 1 else heading.text
            rank = 0 if all(word in head for word in wanted) else 1
            hits.append((rank, Hit(found.title, title, url, _excerpt(heading.words, wanted))))
    return [hit for _, hit in sorted(hits, key=lambda pair: pair[0])][:40]


def _excerpt(words: str, wanted: list[str]) -> SafeString:
    """About 200 characters around the first word that was found, the words marked."""
    low = words.lower()
    first = min((at for at in (low.find(word) for word in wanted) if at >= 0), default=0)
    start = low.rfind(" ", 0, max(first - 60, 0)) + 1 if first > 60 else 0
    part = words[start : start + 200]
    if start + 200 < len(words):
        part = part.rpartition(" ")[0] or part
    pattern = re.compile("|".join(re.escape(word) for word in sorted(wanted, key=len, reverse=True)), re.IGNORECASE)
    marked, last = [], 0
    for match in pattern.finditer(part):
        marked += [escape(part[last : match.start()]), f"<mark>{escape(match[0])}</mark>"]
        last = match.end()
    text = "".join([*marked, escape(part[last:])])
    return mark_safe(f"{'… ' if start else ''}{text}{' …' if start + 200 < len(words) else ''}")  # noqa: S308


# ---------------------------------------------------------------- views
@require_safe
def guide(request: HttpRequest, slug: str = "") -> HttpResponse:
    """A page of the guide; with ``?q=`` what was found in all of them."""
    there = pages()
    if slug not in there:
        raise NotFound("The guide has no such page")
    sections: dict[str, list[Page]] = {}
    for page in there.values():
        sections.setdefault(page.section, []).append(page)
    text = " ".join(request.GET.get("q", "")[:100].split())
    context = {"sections": sections, "page": there[slug], "doc": rendered(there[slug]), "text": text}
    if text:
        context["hits"] = search(text)
    return render(request, "guide/page.html", context)


@require_safe
def guide_image(request: HttpRequest, name: str) -> HttpResponse:
    """An image of the guide; for ever under its digest (``?v=``), for five minutes without."""
    path = _docs() / "img" / name
    if not _PICTURE.fullmatch(name) or not path.is_file():
        raise NotFound("The guide has no such image")
    digest = _measured(path, path.stat().st_mtime_ns)[0]
    known = request.GET.get("v") == digest
    age = "public, max-age=31536000, immutable" if known else "public, max-age=300"
    headers = {"Cache-Control": age, "ETag": f'"{digest}"'}
    if request.headers.get("If-None-Match") == f'"{digest}"':
        return HttpResponse(status=304, headers=headers)
    return HttpResponse(path.read_bytes(), content_type="image/webp", headers=headers)
