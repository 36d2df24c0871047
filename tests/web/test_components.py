"""Components: all of them are shown, what they write is escaped, a diff tells what changed."""

import re
from pathlib import Path

import pytest
from django.conf import settings
from django.template import engines
from django.test import Client
from django_cotton.compiler_regex import CottonCompiler

from apps.core.web.diff import text_diff

COTTON = sorted((settings.BASE_DIR / "templates/cotton").glob("*.html"))
# Parts of others, or of the shell.
UNSHOWN = {"mark", "form-errors", "printed"}


def written(source: str, **context: object) -> str:
    return str(engines["django"].from_string(CottonCompiler().process(source)).render(context))


def test_every_component_is_on_the_page_of_components() -> None:
    page = (settings.BASE_DIR / "templates/core/components.html").read_text()
    named = {path.stem.replace("_", "-") for path in COTTON} - UNSHOWN
    assert {name for name in named if f"<c-{name}" not in page} == set()


def test_the_page_of_components_names_each_id_once(db: None) -> None:
    body = Client(headers={"accept": "text/html"}).get("/dev/components").content.decode()
    ids = re.findall(r'\sid="([^"]+)"', body)
    assert len(ids) == len(set(ids))
    assert "<c-" not in body


@pytest.mark.parametrize("path", COTTON, ids=lambda path: path.stem)
def test_every_component_is_used(path: Path) -> None:
    tag = f"<c-{path.stem.replace('_', '-')}"
    assert any(tag in other.read_text() for other in (settings.BASE_DIR / "templates").rglob("*.html") if other != path)


def test_what_components_are_given_is_escaped_once() -> None:
    nasty = 'A & "B" <x>'
    body = written(
        '<c-chip label="{{ l }}" :values="v" without="{{ w }}" /><c-choices label="{{ l }}" :items="i" />'
        '<c-pager back="?{{ w }}" /><c-table name="{{ l }}">t</c-table><c-progress :value="3" label="{{ l }}" />'
        '<c-diff :old="l" :new="w" /><c-moment title="{{ l }}" when="{{ l }}">{{ l }}</c-moment>',
        l=nasty, v=[nasty], w="a=1&b=2", i=[(nasty, "p=1&q=2", True)],
    )  # fmt: skip
    assert "<x>" not in body
    assert "amp;amp" not in body
    assert "amp;quot" not in body
    assert 'href="?a=1&amp;b=2"' in body
    assert "A &amp; &quot;B&quot; &lt;x&gt;" in body


def test_a_diff_counts_lines_and_marks_words() -> None:
    found = text_diff("one\ntwo three four\nend\n", "one\ntwo five four\nend\nmore\n")
    assert (found.added, found.removed) == (2, 1)
    removed = next(line for line in found.lines if line.kind == "del")
    assert [(part.text, part.changed) for part in removed.parts] == [("two ", False), ("three", True), (" four", False)]
    assert (removed.old, removed.new) == (2, None)
    assert [line.new for line in found.lines if line.kind == "add"] == [2, 4]


def test_a_diff_of_equal_texts_says_so() -> None:
    found = text_diff("a\nb", "a\nb")
    assert found.same
    assert found.lines == []
    assert "no difference" in written('<c-diff :old="a" :new="a" />', a="same")


def test_lines_far_from_a_change_are_left_out_and_counted() -> None:
    old = "\n".join(str(number) for number in range(100))
    found = text_diff(old, old.replace("50", "fifty"))
    assert [line.count for line in found.lines if line.kind == "gap"] == [47, 46]
    assert sum(line.kind == "same" for line in found.lines) == 6


def test_characters_that_nobody_sees_are_marked_and_counted() -> None:
    found = text_diff("run it", "run\u200b\u200b\u200b it\u202e")
    marks = [part for line in found.lines for part in line.parts if part.mark]
    assert [(part.text, part.title) for part in marks] == [
        ("U+200B ×3", "zero width space"), ("U+202E", "right-to-left override")
    ]  # fmt: skip


def test_lines_that_share_little_are_not_cut_into_words() -> None:
    found = text_diff("alpha beta gamma", "something else entirely")
    assert not any(part.changed for line in found.lines for part in line.parts)


@pytest.mark.parametrize(("old", "new"), [("", ""), ("", "a"), ("a", ""), ("\n\n", "\n"), ("a" * 9000, "b " * 9000)])
def test_a_diff_of_odd_texts_ends(old: str, new: str) -> None:
    found = text_diff(old, new)
    assert found.same is (old.splitlines() == new.splitlines())
