"""Invitations by the hundred: a file of lines ``email,role,team``, every line looked at before one mail goes out.

The first line may name the columns, in any order; without one they are e-mail, role and team. A role left out is the
one that was chosen for all; a team is named by its name or its short name. Spreadsheets' ways are known: a byte order
mark, UTF-16, semicolons or tabs in the place of commas. What a spreadsheet would run as a formula is refused.
"""

import codecs
import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass
from uuid import UUID

from apps.accounts import selectors as accounts
from apps.core.errors import FieldError, MindWeaveError, PayloadTooLarge, ValidationFailed
from apps.core.tenancy import org_scope
from apps.identity import selectors as identity
from apps.teams import selectors
from apps.teams.invitation_selectors import open_invitations
from apps.teams.invitations import NewInvitation, checked, require_may_give

__all__ = ["MAX_BYTES", "MAX_LINES", "Line", "decoded", "look_through"]

MAX_BYTES = 256 * 1024
MAX_LINES = 500
_COLUMNS = {"email": "email", "e-mail": "email", "address": "email", "role": "role", "team": "team", "teams": "team"}
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


@dataclass(frozen=True, slots=True)
class Line:
    """A line of the file: what it asks for, and what is wrong with it (empty: nothing)."""

    number: int
    email: str
    role: str
    team: str
    problem: str = ""
    wanted: NewInvitation | None = None


def decoded(content: bytes) -> str:
    """The text of a file; :class:`PayloadTooLarge` and :class:`ValidationFailed` for what is none."""
    if len(content) > MAX_BYTES:
        raise PayloadTooLarge(f"{MAX_BYTES // 1024} KB at most")
    encoding = "utf-8-sig"
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        encoding = "utf-16"
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as error:
        raise _unreadable("This is not text in UTF-8; save it as “CSV UTF-8”") from error


def _unreadable(detail: str) -> ValidationFailed:
    errors: list[FieldError] = [{"pointer": "/csv", "detail": detail}]
    return ValidationFailed("The file cannot be read", errors=errors)


def look_through(
    text: str, *, org_id: UUID, by_user_id: UUID | None, role: str, message: str = ""
) -> list[Line]:  # fmt: skip
    """Every line with what is wrong with it; none of it is written. ``role`` is of those lines that name none."""
    if len(text.encode("utf-8", "replace")) > MAX_BYTES:
        raise PayloadTooLarge(f"{MAX_BYTES // 1024} KB at most")
    rows = list(_rows(text.removeprefix("\ufeff")))  # pasted, or sent by the API: a file's is gone by now
    if not rows:
        raise _unreadable("There is no line in it")
    if len(rows) > MAX_LINES:
        raise _unreadable(f"{MAX_LINES} lines at most; this one has {len(rows)}")
    with org_scope(org_id):
        known = _Known(org_id, by_user_id, [row["email"] for _, row in rows])
        return [_line(number, row, known, role, message) for number, row in rows]


def _rows(text: str) -> Iterator[tuple[int, dict[str, str]]]:
    if "\0" in text:
        raise _unreadable("This is not text")
    # Told by the first line: a comma inside quotes further down must not decide it.
    first = text.lstrip("\r\n").split("\n", 1)[0]
    delimiter = max(",;\t", key=first.count) if any(sign in first for sign in ",;\t") else ","
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    columns: list[str] | None = None
    try:
        for cells in reader:
            cells = [cell.strip(" \u00a0") for cell in cells]
            if not any(cells):
                continue
            if columns is None:
                columns, is_heading = _columns(cells)
                if is_heading:
                    continue
            if len(cells) > len(columns) and any(cells[len(columns) :]):
                raise _unreadable(f"Line {reader.line_num} has {len(cells)} columns; {len(columns)} are expected")
            row = dict.fromkeys(("email", "role", "team"), "")
            yield reader.line_num, row | dict(zip(columns, cells, strict=False))
    except csv.Error as error:
        raise _unreadable(f"Line {reader.line_num}: {error}") from error


def _columns(cells: list[str]) -> tuple[list[str], bool]:
    """The columns, and whether this line names them."""
    named = [_COLUMNS.get(cell.lower()) for cell in cells]
    if "email" not in named:
        return ["email", "role", "team"], False
    if None in named or len(set(named)) < len(named):
        raise _unreadable("The first line names a column that is not known; known are email, role and team")
    return [name for name in named if name], True


class _Known:
    """What every line is held against, read once for all of them."""

    def __init__(self, org_id: UUID, by_user_id: UUID | None, emails: list[str]) -> None:
        self.org_id, self.by_user_id = org_id, by_user_id
        people = identity.users_by_emails(emails)
        members = {each.user_id for each in accounts.member_infos(org_id)}
        self.members = {email for email, person in people.items() if person.id in members}
        self.invited = set(open_invitations(org_id).values_list("email", flat=True))
        self.teams: dict[str, list[UUID]] = {}
        for team in selectors.team_list(org_id).order_by("id"):
            for name in {team.slug, team.name.casefold()}:
                self.teams.setdefault(name, []).append(team.pk)
        self.seen: dict[str, int] = {}
        self.roles: dict[str, str] = {}

    def role_problem(self, role: str) -> str:
        if role not in self.roles:
            self.roles[role] = ""
            if accounts.role_find(org_id=self.org_id, role=role) is None:
                self.roles[role] = f"There is no role “{role}”"
            else:
                try:
                    require_may_give(org_id=self.org_id, by_user_id=self.by_user_id, role=role)
                except MindWeaveError as error:
                    self.roles[role] = error.detail
        return self.roles[role]


def _line(number: int, row: dict[str, str], known: _Known, role: str, message: str) -> Line:
    email, team = identity.normal_email(row["email"]), row["team"]
    given = row["role"].lower() or role
    wanted = NewInvitation(email, given, message=message)
    problem = _problem(row, wanted, known)
    if not problem:
        ids = known.teams.get(team.casefold(), [])
        if team and len(ids) != 1:
            problem = (
                f"There is no team “{team}”" if not ids else f"Several teams are called “{team}”: use a short name"
            )
        wanted = NewInvitation(email, given, tuple(ids), message)
    if not problem:
        known.seen[email] = number
    return Line(number, row["email"], given, team, problem, None if problem else wanted)


def _problem(row: dict[str, str], wanted: NewInvitation, known: _Known) -> str:
    if any(row[name].startswith(_FORMULA) for name in ("email", "role", "team")):
        return "A value that starts like a formula of a spreadsheet is not taken"
    if problem := known.role_problem(wanted.role):
        return problem
    try:
        checked(wanted)
    except ValidationFailed as error:
        return ". ".join(each["detail"] for each in error.errors)
    if wanted.email in known.seen:
        return f"The same address as in line {known.seen[wanted.email]}"
    if wanted.email in known.members:
        return "They are a member already"
    return "They have an open invitation already" if wanted.email in known.invited else ""
