"""The grammar of filters and paths (RFC 7644, figures 1 and 7).

Our own, in a page. Path not taken: scim2-filter-parser gives ``and`` and ``or`` the same rank, where the RFC has
``and`` bind closer, so that ``a or b and c`` would find others than was meant; and it knows no escapes in strings.
"""

import re
from dataclasses import dataclass
from typing import Any

import orjson

from apps.sso.scim.errors import ScimError

__all__ = ["And", "Compare", "Node", "Not", "Or", "Path", "ValuePath", "parse_filter", "parse_path"]

_LONGEST, _DEEPEST = 2000, 20
_OPERATORS = frozenset({"eq", "ne", "co", "sw", "ew", "gt", "ge", "lt", "le"})
_WORD = re.compile(
    r"""\s*(?:
    (?P<text>"(?:[^"\\]|\\.)*")
    | (?P<mark>[()\[\]])
    | (?P<sub>\.[A-Za-z$][A-Za-z0-9_$-]*)
    | (?P<uri>[Uu][Rr][Nn]:[A-Za-z0-9:._-]+:(?=[A-Za-z$]))
    | (?P<number>-?[0-9]+(?:\.[0-9]+)?)
    | (?P<name>[A-Za-z$][A-Za-z0-9_$-]*)
    )""",
    re.X,
)
_CORE = frozenset({"urn:ietf:params:scim:schemas:core:2.0:user", "urn:ietf:params:scim:schemas:core:2.0:group"})


@dataclass(frozen=True, slots=True)
class Compare:
    """``attribute op value``; ``op`` in lower case, ``pr`` without a value. ``names`` are as they were written."""

    names: tuple[str, ...]
    op: str
    value: Any = None


@dataclass(frozen=True, slots=True)
class ValuePath:
    """``attribute[inner]``: some element of the attribute meets ``inner``."""

    names: tuple[str, ...]
    inner: "Node"


@dataclass(frozen=True, slots=True)
class And:
    left: "Node"
    right: "Node"


@dataclass(frozen=True, slots=True)
class Or:
    left: "Node"
    right: "Node"


@dataclass(frozen=True, slots=True)
class Not:
    inner: "Node"


Node = Compare | ValuePath | And | Or | Not


@dataclass(frozen=True, slots=True)
class Path:
    """The path of a PATCH: an attribute (below a schema extension, where it names one), a filter, a sub-attribute."""

    names: tuple[str, ...]
    where: Node | None = None
    sub: str = ""


def parse_filter(text: str) -> Node:
    """A filter; :class:`ScimError` ``invalidFilter`` where it is none."""
    words = _Words(text, "invalidFilter")
    node = words.either(0)
    words.end()
    return node


def parse_path(text: str) -> Path:
    """The path of a PATCH; :class:`ScimError` ``invalidPath`` where it is none."""
    words = _Words(text, "invalidPath")
    names: tuple[str, ...] = words.names()
    where: Node | None = None
    sub = ""
    if words.takes("["):
        where = words.either(1)
        words.wants_mark("]")
        if words.next().kind == "sub":
            sub = words.wants("sub")[1:]
    elif len(names) > 1:
        extension = ":" in names[0]
        whole = 2 if extension else 1  # how many names the attribute itself has
        if len(names) > whole + 1:
            raise words.refuse()
        names, sub = names[:whole], "".join(names[whole:])
    words.end()
    return Path(names, where, sub)


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str

    @property
    def word(self) -> str:
        """An operator or a word of the grammar, whatever its case; empty for anything quoted."""
        return self.text.lower() if self.kind in {"name", "mark"} else ""


class _Words:
    """The words of a filter, read from left to right."""

    def __init__(self, text: str, scim_type: str) -> None:
        self.scim_type = scim_type
        if not isinstance(text, str) or not text.strip() or len(text) > _LONGEST:
            raise self.refuse()
        self.tokens: list[_Token] = []
        self.at = place = 0
        text = text.strip()
        while place < len(text):
            found = _WORD.match(text, place)
            if found is None:
                raise self.refuse()
            kind = found.lastgroup or ""
            self.tokens.append(_Token(kind, found[kind]))
            place = found.end()

    def refuse(self) -> ScimError:
        what = "filter" if self.scim_type == "invalidFilter" else "path"
        return ScimError(f"The {what} cannot be read", self.scim_type)

    def next(self) -> _Token:
        """The word that is next, not yet taken; one of no kind at the end."""
        return self.tokens[self.at] if self.at < len(self.tokens) else _Token("", "")

    def takes(self, word: str) -> bool:
        found = self.next().word == word
        self.at += found
        return found

    def wants(self, kind: str) -> str:
        token = self.next()
        if token.kind != kind:
            raise self.refuse()
        self.at += 1
        return token.text

    def wants_mark(self, mark: str) -> None:
        if not self.takes(mark):
            raise self.refuse()

    def end(self) -> None:
        if self.at != len(self.tokens):
            raise self.refuse()

    # ------------------------------------------------------------ rules
    def either(self, depth: int) -> Node:
        node = self.both(depth)
        while self.takes("or"):
            node = Or(node, self.both(depth))
        return node

    def both(self, depth: int) -> Node:
        node = self.single(depth)
        while self.takes("and"):
            node = And(node, self.single(depth))
        return node

    def single(self, depth: int) -> Node:
        if depth > _DEEPEST:
            raise self.refuse()
        negated = self.takes("not")
        if negated or self.next().word == "(":
            self.wants_mark("(")
            inner = self.either(depth + 1)
            self.wants_mark(")")
            return Not(inner) if negated else inner
        return self.attribute(depth)

    def attribute(self, depth: int) -> Node:
        names = self.names()
        if not self.takes("["):
            return self.comparison(names)
        inner = self.either(depth + 1)
        self.wants_mark("]")
        if self.next().kind == "sub":
            # Entra's `emails[type eq "work"].value eq "x"`: the same element meets both.
            inner = And(inner, self.comparison((self.wants("sub")[1:],)))
        return ValuePath(names, inner)

    def names(self) -> tuple[str, ...]:
        uri = self.wants("uri").rstrip(":") if self.next().kind == "uri" else ""
        names = [self.wants("name")]
        while self.next().kind == "sub":
            names.append(self.wants("sub")[1:])
        return (uri, *names) if uri and uri.lower() not in _CORE else tuple(names)

    def comparison(self, names: tuple[str, ...]) -> Compare:
        op = self.next().word
        if op != "pr" and op not in _OPERATORS:
            raise self.refuse()
        self.at += 1
        return Compare(names, op) if op == "pr" else Compare(names, op, self.value())

    def value(self) -> Any:
        token = self.next()
        self.at += 1
        if token.kind in {"text", "number"}:
            try:
                read = orjson.loads(token.text)
            except orjson.JSONDecodeError as error:
                raise self.refuse() from error
            return read.replace("\0", "") if isinstance(read, str) else read
        words = {"true": True, "false": False, "null": None}
        if token.word not in words:
            raise self.refuse()
        return words[token.word]
