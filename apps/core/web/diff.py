"""What changed between two texts: lines, in changed lines the words, and characters that nobody sees."""

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from difflib import SequenceMatcher

__all__ = ["Diff", "Line", "Part", "text_diff"]

_WORD = re.compile(r"\w+|\s+|[^\w\s]")
_CONTEXT = 3
# Longer texts are compared by lines alone: comparing words costs the square of their number.
_MOST_WORDS = 400


@dataclass(frozen=True, slots=True)
class Part:
    """A stretch of a line. ``mark`` stands for invisible characters, which ``title`` names."""

    text: str
    changed: bool = False
    mark: bool = False
    title: str = ""


@dataclass(frozen=True, slots=True)
class Line:
    """A line; ``kind`` is same, add, del or gap (``count`` equal lines left out); numbers start at 1."""

    kind: str
    old: int | None = None
    new: int | None = None
    parts: list[Part] = field(default_factory=list)
    count: int = 0


@dataclass(frozen=True, slots=True)
class Diff:
    """All lines to show, and how many were added and removed."""

    lines: list[Line]
    added: int
    removed: int

    @property
    def same(self) -> bool:
        return not (self.added or self.removed)


def text_diff(old: str, new: str) -> Diff:
    """Compare two texts line by line, with three lines around each change."""
    before, after = old.splitlines(), new.splitlines()
    lines: list[Line] = []
    groups = list(SequenceMatcher(None, before, after, autojunk=False).get_grouped_opcodes(_CONTEXT))
    last = 0
    for group in groups:
        if group[0][1] > last:
            lines.append(Line("gap", count=group[0][1] - last))
        for step in group:
            lines += _step(before, after, step)
        last = group[-1][2]
    if groups and last < len(before):
        lines.append(Line("gap", count=len(before) - last))
    added = sum(line.kind == "add" for line in lines)
    return Diff(lines, added, sum(line.kind == "del" for line in lines))


def _step(before: Sequence[str], after: Sequence[str], step: tuple[str, int, int, int, int]) -> Iterator[Line]:
    tag, i1, i2, j1, j2 = step
    if tag == "equal":
        for offset in range(i2 - i1):
            parts = list(_visible(before[i1 + offset], changed=False))
            yield Line("same", i1 + offset + 1, j1 + offset + 1, parts)
        return
    # The first removed line is most likely what became the first added one.
    pairs = [_words(before[i], after[j]) for i, j in zip(range(i1, i2), range(j1, j2), strict=False)]
    for at in range(i1, i2):
        index = at - i1
        parts = pairs[index][0] if index < len(pairs) else list(_visible(before[at], changed=False))
        yield Line("del", old=at + 1, parts=parts)
    for at in range(j1, j2):
        index = at - j1
        parts = pairs[index][1] if index < len(pairs) else list(_visible(after[at], changed=False))
        yield Line("add", new=at + 1, parts=parts)


def _words(old: str, new: str) -> tuple[list[Part], list[Part]]:
    """Both lines in parts, those marked that differ; where less than a third is shared, no word is marked."""
    before, after = _WORD.findall(old), _WORD.findall(new)
    whole = list(_visible(old, changed=False)), list(_visible(new, changed=False))
    if max(len(before), len(after)) > _MOST_WORDS:
        return whole
    matcher = SequenceMatcher(None, before, after, autojunk=False)
    shared = sum(len("".join(before[at : at + size]).replace(" ", "")) for at, _, size in matcher.get_matching_blocks())
    longest = max(len(old.replace(" ", "")), len(new.replace(" ", "")))
    if shared * 3 < longest:
        return whole
    left: list[Part] = []
    right: list[Part] = []
    for tag, i1, i2, j1, j2 in matcher.get_opcodes():
        left += _visible("".join(before[i1:i2]), changed=tag != "equal")
        right += _visible("".join(after[j1:j2]), changed=tag != "equal")
    return left, right


def _visible(text: str, *, changed: bool) -> Iterator[Part]:
    """The text in parts; a run of one invisible character becomes a mark with its number: ``U+200B ×3``."""
    at = 0
    while at < len(text):
        end = at + 1
        if _hidden(text[at]):
            while end < len(text) and text[end] == text[at]:
                end += 1
            times = f" ×{end - at}" if end - at > 1 else ""
            name = unicodedata.name(text[at], "control character").lower()
            yield Part(f"U+{ord(text[at]):04X}{times}", changed, True, name)
        else:
            while end < len(text) and not _hidden(text[end]):
                end += 1
            yield Part(text[at:end], changed)
        at = end


def _hidden(character: str) -> bool:
    """Whether a character leaves no trace on a page: formats (zero width, direction, tags) and controls but the tab."""
    return character != "\t" and unicodedata.category(character) in {"Cf", "Cc"}
