"""Invitations by CSV: every line is looked at, and what is wrong with it is said before a mail goes out."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.core import ports
from apps.core.errors import PayloadTooLarge, ValidationFailed
from apps.teams import services
from apps.teams.invitation_csv import MAX_BYTES, decoded, look_through
from tests.cast import Api
from tests.teams.mail import mails_to
from tests.teams.test_invitations import Plan


def look(cast, text: str, by=None):
    return look_through(text, org_id=cast.org.id, by_user_id=(by or cast.erin).id, role="developer")


def test_every_line_says_what_is_wrong_with_it(cast) -> None:
    services.invite_member(org_id=cast.org.id, email="asked@example.com", role="viewer")
    services.create_team(org_id=cast.org.id, name="Twins")
    services.create_team(org_id=cast.org.id, name="Twins")
    text = "\n".join(
        [
            "email,role,team", "new@example.com,viewer,Loom", "NEW@example.com,viewer,", "bob@example.com,,",
            "asked@example.com,,", "nobody,,", "x@example.com,emperor,", "y@example.com,owner,",
            "z@example.com,,Nowhere", '=cmd|calc@example.com,"",', "t@example.com,,Twins", "", "plain@example.com",
            "u@example.com,,twins-2",
        ]
    )  # fmt: skip
    lines = look(cast, text)
    assert [(line.number, line.problem) for line in lines] == [
        (2, ""),
        (3, "The same address as in line 2"),
        (4, "They are a member already"),
        (5, "They have an open invitation already"),
        (6, "This is not an e-mail address"),
        (7, "There is no role “emperor”"),
        (8, "This role is above your own"),
        (9, "There is no team “Nowhere”"),
        (10, "A value that starts like a formula of a spreadsheet is not taken"),
        (11, "Several teams are called “Twins”: use a short name"),
        (13, ""),
        (14, ""),
    ]
    wanted = [line.wanted for line in lines if line.wanted]
    assert [(each.email, each.role, len(each.team_ids)) for each in wanted] == [
        ("new@example.com", "viewer", 1),
        ("plain@example.com", "developer", 0),
        ("u@example.com", "developer", 1),
    ]


@pytest.mark.parametrize(
    "content",
    [
        b"email;role\r\nnew@example.com;viewer\r\n",
        "\ufeffRole\tE-Mail\nviewer\tnew@example.com\n".encode(),
        "email,role\nnew@example.com,viewer\n".encode("utf-16"),
        b'"new@example.com","viewer"',
        "new@example.com\u00a0,viewer".encode(),
    ],
    ids=["semicolons", "a byte order mark and tabs", "utf-16", "no heading", "a hard space"],
)
def test_files_of_spreadsheets_are_read_as_they_come(cast, content) -> None:
    [line] = look(cast, decoded(content))
    assert (line.problem, line.wanted.email, line.wanted.role) == ("", "new@example.com", "viewer")
    assert look(cast, "\ufeff" + decoded(content)) == [line], "pasted, with a mark of its own"


@pytest.mark.parametrize(
    "text",
    ["", "\n\n", "email,role,colour\na@example.com,viewer,red", 'a@example.com,"viewer', "a@example.com,viewer,,x",
     "\0", "\n".join(f"a{number}@example.com" for number in range(501))],
)  # fmt: skip
def test_what_cannot_be_read_is_refused_as_a_whole(cast, text) -> None:
    with pytest.raises(ValidationFailed) as refused:
        look(cast, text)
    assert refused.value.errors[0]["pointer"] == "/csv"


def test_neither_other_encodings_nor_large_files_are_taken() -> None:
    with pytest.raises(ValidationFailed):
        decoded("email\nadèle@example.com".encode("latin-1"))
    with pytest.raises(PayloadTooLarge):
        decoded(b"a" * (MAX_BYTES + 1))


@pytest.mark.django_db
@given(st.text(max_size=200))
def test_any_text_is_looked_through_or_refused(text) -> None:
    from apps.core.ids import uuid7

    try:
        lines = look_through(text, org_id=uuid7(), by_user_id=None, role="viewer")
    except ValidationFailed:
        return
    assert all(line.problem or line.wanted for line in lines)


def test_the_good_ones_go_and_the_others_are_reported(cast) -> None:
    path = f"/orgs/{cast.org.id}/invitations/import"
    body = {"csv": "email,role\nnew@example.com,viewer\nbob@example.com,viewer\n", "message": "Do come"}
    looked = Api(cast.erin).post(path, {**body, "dry_run": True}).json()
    assert (looked["invited"], looked["acceptable"]) == ([], 1)
    assert mails_to("new@example.com") == []
    done = Api(cast.erin).post(path, body)
    assert done.status_code == 200
    assert [each["email"] for each in done.json()["invited"]] == ["new@example.com"]
    assert done.json()["problems"] == [{"line": 3, "email": "bob@example.com", "detail": "They are a member already"}]
    [mail] = mails_to("new@example.com")
    assert "Do come" in mail.text


def test_with_too_few_seats_none_goes(cast) -> None:
    before = ports.plan_limits.get()
    ports.plan_limits.set(Plan(6))
    try:
        body = {"csv": "one@example.com\ntwo@example.com"}
        refused = Api(cast.erin).post(f"/orgs/{cast.org.id}/invitations/import", body)
    finally:
        ports.plan_limits.set(before)
    assert (refused.status_code, refused.json()["code"]) == (403, "plan_limit_reached")
    assert mails_to("one@example.com") == []
