"""Our own Markdown as HTML in our design: no raw HTML, no inline styles, every link resolved by whoever asks."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.utils.html import escape, format_html
from django.utils.safestring import SafeString, mark_safe
from django.utils.text import slugify
from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token

from apps.core.templatetags.mw import icon

__all__ = ["Heading", "Picture", "Rendered", "render"]


@dataclass(frozen=True, slots=True)
class Heading:
    """A heading and the plain words under it, up to the next one."""

    level: int
    id: str
    text: str
    words: str


@dataclass(frozen=True, slots=True)
class Picture:
    """An image's address and its size in pixels."""

    url: str
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Rendered:
    """A document: its title (the first ``#``, not in ``html``), the rest, and its headings with their words."""

    title: str
    html: SafeString
    headings: list[Heading] = field(default_factory=list)


LinkTo = Callable[[str], str | None]
PictureAt = Callable[[str], Picture | None]


def render(text: str, *, link: LinkTo, picture: PictureAt) -> Rendered:
    """Render a document. ``link`` gives the address for a target, None where only its words shall stay; ``picture`` the
    image for a source, None where its description shall stand instead.
    """
    parser = MarkdownIt("commonmark", {"html": False}, renderer_cls=_Renderer).enable("table")
    renderer = parser.renderer
    assert isinstance(renderer, _Renderer)
    renderer.link_to, renderer.picture_at = link, picture
    tokens = parser.parse(text)
    headings = _name_headings(tokens)
    title = ""
    if headings and headings[0].level == 1:
        title, tokens = headings[0].text, tokens[3:]
    return Rendered(title, mark_safe(renderer.render(tokens, parser.options, {})), headings)  # noqa: S308


def _plain(token: Token) -> str:
    """The words of an inline token, without marks."""
    return "".join(" " if child.type == "softbreak" else child.content for child in token.children or [])


def _name_headings(tokens: Sequence[Token]) -> list[Heading]:
    """Give each heading its id (as GitHub names them, repeats numbered) and gather what stands under it."""
    taken: dict[str, int] = {}
    found: list[tuple[int, str, str, list[str]]] = [(0, "", "", [])]
    opened: Token | None = None
    for token in tokens:
        if token.type == "heading_open":
            opened = token
        elif token.type == "inline" and opened is not None:
            name = slugify(_plain(token)) or "part"
            taken[name] = taken.get(name, 0) + 1
            name = f"{name}-{taken[name] - 1}" if taken[name] > 1 else name
            opened.attrSet("id", name)
            opened.meta["words"] = _plain(token)
            found.append((int(opened.tag[1]), name, _plain(token), []))
            opened = None
        elif token.type == "inline":
            found[-1][3].append(_plain(token))
        elif token.type in {"fence", "code_block"}:
            found[-1][3].append(token.content)
    if not found[0][3]:
        found.pop(0)
    return [Heading(level, name, words, re.sub(r"\s+", " ", " ".join(under))) for level, name, words, under in found]


class _Renderer(RendererHTML):
    """HTML of our components: snippets with a copy button, tables that scroll, headings that can be linked to."""

    link_to: LinkTo = staticmethod(lambda target: target)
    picture_at: PictureAt = staticmethod(lambda source: None)
    _open_links: list[bool]
    _section = ""

    def render(self, tokens: Sequence[Token], options: Any, env: Any) -> str:
        self._open_links = []
        return super().render(tokens, options, env)

    def heading_open(self, tokens: Sequence[Token], idx: int, options: Any, env: Any) -> str:
        token = tokens[idx]
        self._section = token.meta.get("words", "")
        return f'<{token.tag} id="{escape(str(token.attrGet("id")))}">'

    def heading_close(self, tokens: Sequence[Token], idx: int, options: Any, env: Any) -> str:
        opened = next(token for token in reversed(tokens[:idx]) if token.type == "heading_open")
        anchor = format_html(
            ' <a class="mw-anchor mw-noprint" href="#{}" aria-label="Link to “{}”">#</a>',
            opened.attrGet("id"), self._section,
        )  # fmt: skip
        return f"{anchor}</{tokens[idx].tag}>\n"

    def fence(self, tokens: Sequence[Token], idx: int, options: Any, env: Any) -> str:
        label = f"Copy the snippet of “{self._section}”" if self._section else "Copy the snippet"
        return format_html(
            '<div class="mw-snip"><pre tabindex="0" data-copy-source>{}</pre><button class="mw-ib mw-js mw-noprint" '
            'type="button" data-copy aria-label="{}">{}</button></div>\n',
            tokens[idx].content.rstrip("\n"), label, icon("copy"),
        )  # fmt: skip

    code_block = fence

    def table_open(self, tokens: Sequence[Token], idx: int, options: Any, env: Any) -> str:
        name = f"Table of “{self._section}”" if self._section else "Table"
        return format_html(
            '<div class="mw-p"><div class="mw-tw" tabindex="0" role="region" aria-label="{}"><table class="mw-t">', name
        )

    def table_close(self, tokens: Sequence[Token], idx: int, options: Any, env: Any) -> str:
        return "</table></div></div>\n"

    def th_open(self, tokens: Sequence[Token], idx: int, options: Any, env: Any) -> str:
        # A head without words is no head to a reader.
        if not tokens[idx + 1].content.strip():
            return "<td>"
        return f'<th scope="col"{_aligned(tokens[idx])}>'

    def th_close(self, tokens: Sequence[Token], idx: int, options: Any, env: Any) -> str:
        return "</th>\n" if tokens[idx - 1].content.strip() else "</td>\n"

    def td_open(self, tokens: Sequence[Token], idx: int, options: Any, env: Any) -> str:
        return f"<td{_aligned(tokens[idx])}>"

    def link_open(self, tokens: Sequence[Token], idx: int, options: Any, env: Any) -> str:
        address = self.link_to(str(tokens[idx].attrGet("href") or ""))
        self._open_links.append(address is not None)
        if address is None:
            return ""
        away = ' rel="noopener"' if "://" in address else ""
        return f'<a href="{escape(address)}"{away}>'

    def link_close(self, tokens: Sequence[Token], idx: int, options: Any, env: Any) -> str:
        return "</a>" if self._open_links.pop() else ""

    def image(self, tokens: Sequence[Token], idx: int, options: Any, env: Any) -> str:
        token = tokens[idx]
        found = self.picture_at(str(token.attrGet("src") or ""))
        if found is None:
            return str(escape(token.content))
        return format_html(
            '<img src="{}" width="{}" height="{}" alt="{}" loading="lazy">',
            found.url, found.width, found.height, token.content,
        )  # fmt: skip


def _aligned(token: Token) -> str:
    """A column that Markdown sets to the right holds numbers; its inline style is not ours to send."""
    return ' class="mw-n"' if "right" in str(token.attrGet("style") or "") else ""
