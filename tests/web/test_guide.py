"""The guide at /guide/: every page renders, every link leads somewhere, nothing but the guide is served."""

import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from django.conf import settings
from django.test import Client
from django.utils.text import slugify

from apps.core.web import guide, markdown
from tests.web.conftest import Cast

SLUGS = list(guide.pages())
# What the page of each place in the product is called, and where its question mark leads.
HELP = {
    "": "home", "usage": "usage", "costs": "costs", "sessions": "sessions", "events": "events",
    "projects": "projects-and-keys", "projects/fleet-api": "projects-and-keys", "connect": "connect",
    "settings": "settings", "settings/members": "members", "settings/members/invitations": "members#invitations",
    "settings/members/invite": "members#invitations", "settings/teams": "members#teams",
    "settings/tags": "settings#tags", "settings/prices": "settings#prices", "settings/roles": "roles",
    "settings/access": "roles#access-review", "settings/keys": "projects-and-keys#all-keys",
    "settings/sso": "single-sign-on", "settings/audit": "audit#read-it", "views": "views", "imports": "imports",
    "notifications": "notifications", "keyboard": "keyboard",
}  # fmt: skip


class Seen(HTMLParser):
    """The ids, links and images of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.links: list[str] = []
        self.images: list[dict[str, str | None]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if given.get("id"):
            self.ids.append(str(given["id"]))
        if tag == "a" and given.get("href"):
            self.links.append(str(given["href"]))
        if tag == "img":
            self.images.append(given)


@pytest.fixture
def anybody(db: None) -> Client:
    return Client(headers={"accept": "text/html"})


@pytest.mark.parametrize("slug", SLUGS, ids=lambda slug: slug or "overview")
def test_every_page_opens_for_anybody_and_leads_nowhere_wrong(anybody: Client, slug: str) -> None:
    answer = anybody.get(f"/guide/{slug}")
    assert answer.status_code == 200
    body = answer.content.decode()
    seen = Seen(body)
    assert body.count("<h1") == 1
    assert len(seen.ids) == len(set(seen.ids))
    assert not re.search(r"<style|\sstyle=|\son\w+=|\]\(|<script(?![^>]*src=)", body)
    for link in seen.links:
        parts = urlsplit(link)
        if parts.scheme or link == "/":
            continue
        there = anybody.get(parts.path) if parts.path else answer
        assert there.status_code == 200, link
        if parts.fragment:
            assert parts.fragment in Seen(there.content.decode()).ids, link
    for image in seen.images:
        got = anybody.get(str(image["src"]))
        assert got.status_code == 200
        assert got.headers["Content-Type"] == "image/webp"
        assert "immutable" in got.headers["Cache-Control"]
        assert image["alt"]
        assert int(str(image["width"])) > 300


def test_the_side_list_names_every_page_and_marks_this_one(anybody: Client) -> None:
    body = anybody.get("/guide/usage").content.decode()
    for slug in SLUGS:
        assert f'href="/guide/{slug}"' in body
    assert re.findall(r'href="([^"]+)" aria-current="page"', body) == ["/guide/usage"]
    assert "<title>Ask what is used · Guide · MindWeave</title>" in body


def test_links_to_files_of_the_repository_become_their_words(anybody: Client) -> None:
    body = anybody.get("/guide/pricing").content.decode()
    assert "(decision 0006)" in body
    assert "decisions/" not in body


def test_search_finds_parts_of_pages_without_scripts(anybody: Client) -> None:
    body = anybody.get("/guide/?q=price+BOOK").content.decode()
    assert 'href="/guide/pricing"' in body
    assert "<mark>" in body
    hits = guide.search("revoke key")
    assert hits[0].url == "/guide/projects-and-keys#revoke-a-key"
    nothing = anybody.get("/guide/?q=zebra<script>").content.decode()
    assert "Nothing has “zebra&lt;script&gt;”" in nothing


@pytest.mark.parametrize("text", ["<u>", "\0", "a" * 5000, "* ( [", "&amp;"])
def test_whatever_is_searched_for_is_only_words(anybody: Client, text: str) -> None:
    answer = anybody.get("/guide/", {"q": text})
    assert answer.status_code == 200
    assert "<u>" not in answer.content.decode()


@pytest.mark.parametrize(
    "path",
    [
        "/guide/nothing", "/guide/README", "/guide/architecture", "/guide/img/none.webp",
        "/guide/img/..%2fguide%2fhome.md", "/guide/img/../configuration.md",
        "/guide/img/%2e%2e%2f%2e%2e%2fmanage.py", "/guide/img/usage.WEBP",
        "/guide/img/usage.webp%00",
    ],
)  # fmt: skip
def test_nothing_else_is_served(anybody: Client, path: str) -> None:
    assert anybody.get(path).status_code == 404


def test_an_image_is_asked_for_once(anybody: Client) -> None:
    first = anybody.get("/guide/img/usage.webp")
    assert first.headers["Cache-Control"] == "public, max-age=300"
    again = anybody.get("/guide/img/usage.webp", headers={"if-none-match": first.headers["ETag"]})
    assert again.status_code == 304
    assert again.content == b""


def test_markdown_brings_no_html_styles_or_scripts_of_its_own() -> None:
    text = "# T\n\n<b onclick=x>raw</b>\n\n|a|b|\n|---|---:|\n|1|2|\n\n[x](javascript:alert(1)) ![pic](../../x.py)\n"
    found = markdown.render(text, link=lambda target: None, picture=lambda source: None)
    assert found.title == "T"
    assert "&lt;b onclick=x&gt;" in found.html
    assert "style=" not in found.html
    assert '<td class="mw-n">2</td>' in found.html
    assert "href" not in found.html
    assert "<img" not in found.html


def test_a_page_is_rendered_again_when_its_file_changes(tmp_path: Path, settings) -> None:
    (tmp_path / "docs/guide").mkdir(parents=True)
    settings.BASE_DIR = tmp_path
    page = tmp_path / "docs/guide/README.md"
    page.write_text("# One\n")
    assert guide.rendered(guide.pages()[""]).title == "One"
    assert guide.rendered(guide.pages()[""]) is guide.rendered(guide.pages()[""])
    page.write_text("# Two\n")
    import os

    os.utime(page, ns=(1, 1))
    assert guide.rendered(guide.pages()[""]).title == "Two"


@pytest.mark.parametrize("path", HELP)
def test_each_page_has_its_help_link(cast: Cast, path: str) -> None:
    path = path.replace("fleet-api", cast.project.slug)
    body = cast.owner.get(cast.url(path)).content.decode()
    links = re.findall(r'<a class="mw-help[^"]*" href="([^"]+)" aria-label="Guide: ([^"]+)"', body)
    assert [link for link, _ in links] == [f"/guide/{HELP[path.replace(cast.project.slug, 'fleet-api')]}"]


def test_the_docs_are_part_of_the_image() -> None:
    ignored = (settings.BASE_DIR / ".dockerignore").read_text().split()
    assert not any(line.startswith(("docs", "*.md")) for line in ignored)


def test_links_between_documents_name_headings_that_exist() -> None:
    root = settings.BASE_DIR
    for path in [root / "README.md", root / "CONTRIBUTING.md", *(root / "docs").rglob("*.md")]:
        for target, part in re.findall(r"\]\(([^)#:]*)#([^)]+)\)", path.read_text()):
            there = (path.parent / target) if target else path
            heads = {slugify(head) for head in re.findall(r"^#+ (.+)$", there.read_text(), re.M)}
            assert part in heads, f"{path.name} → {target}#{part}"
