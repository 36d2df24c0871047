"""`/orgs/{id}/invitations` and `/invitations/{token}`: who is asked by whom, joins once, and takes a seat."""

from datetime import timedelta

import pytest

from apps.accounts import selectors as accounts
from apps.accounts import services as members
from apps.core import ports
from apps.core.clock import now
from apps.core.errors import Conflict, PermissionDenied
from apps.core.tenancy import org_scope, system_scope
from apps.identity import selectors as identity
from apps.identity.models import User
from apps.notify.models import EmailMessage
from apps.teams import selectors, services
from apps.teams.models import Invitation
from tests.cast import Api, at_once, make_cast, make_key, make_person, published, rights_of, trail
from tests.teams.mail import mails_to, token_of


class Plan:
    """A plan with so many seats."""

    def __init__(self, seats: int) -> None:
        self.seats = seats

    def limit(self, org_id, name):
        return self.seats if name == "seats" else None


@pytest.fixture
def plan():
    before = ports.plan_limits.get()
    yield lambda seats: ports.plan_limits.set(Plan(seats))
    ports.plan_limits.set(before)


def path(cast, rest: str = "") -> str:
    return f"/orgs/{cast.org.id}/invitations{rest}"


def ask(cast, email: str = "grace@example.com", role: str = "developer", **fields):
    fields.setdefault("by_user_id", cast.erin.id)
    return services.invite_member(org_id=cast.org.id, email=email, role=role, **fields)


def change(cast, **fields) -> None:
    with org_scope(cast.org.id):
        Invitation.objects.update(**fields)


def role(cast, person) -> str | None:
    return accounts.role_of(org_id=cast.org.id, user_id=person.id)


# ---------------------------------------------------------------- asking
def test_an_admin_asks_somebody_and_the_link_stands_in_the_mail_alone(cast) -> None:
    body = {"email": "GRACE@example.com", "role": "developer", "team_ids": [str(cast.team.id)], "message": "Do come"}
    answer = Api(cast.erin).post(path(cast), body)
    assert answer.status_code == 201
    made = answer.json()
    assert (made["email"], made["role"], made["state"]) == ("grace@example.com", "developer", "open")
    assert (made["team_ids"], made["invited_by_id"], made["sendings"]) == ([str(cast.team.id)], str(cast.erin.id), 1)
    [mail] = mails_to("grace@example.com")
    token = token_of("grace@example.com")
    assert len(token) >= 43
    assert mail.subject == "Erin invites you to Wonder Looms on MindWeave"
    assert "Do come" in mail.text
    assert token not in answer.content.decode()
    with org_scope(cast.org.id):
        assert token.encode() not in bytes(Invitation.objects.get().digest)
    [entry] = trail("invitation.created")
    assert (entry.actor_id, entry.target_label) == (cast.erin.id, "grace@example.com")
    assert token not in str(entry.changes)
    assert published("member.invited") == [
        {"org_id": str(cast.org.id), "invitation_id": made["id"], "role": "developer"}
    ]


@pytest.mark.parametrize(
    ("change_", "pointer"),
    [
        ({"email": "nobody"}, "/email"),
        ({"role": "emperor"}, "/role"),
        ({"team_ids": ["01a209e4-215f-7371-be17-514d2bfae41c"]}, "/team_ids"),
        ({"message": "x" * 501}, "/message"),
        ({"message": "see https://evil.example"}, "/message"),
        ({"owner": True}, "/owner"),
    ],
)
def test_what_is_not_valid_is_not_sent(cast, change_, pointer) -> None:
    answer = Api(cast.erin).post(path(cast), {"email": "grace@example.com", "role": "viewer", **change_})
    assert answer.status_code == 400
    assert pointer in {error["pointer"] for error in answer.json()["errors"]}
    assert mails_to("grace@example.com") == []


def test_a_team_of_elsewhere_is_not_taken(cast) -> None:
    body = {"email": "grace@example.com", "role": "viewer", "team_ids": [str(cast.their_team.id)]}
    assert Api(cast.alice).post(path(cast), body).status_code == 400
    assert trail("invitation.created") == []


def test_nobody_invites_above_themselves(cast) -> None:
    answer = Api(cast.erin).post(path(cast), {"email": "grace@example.com", "role": "owner"})
    assert (answer.status_code, answer.json()["code"]) == (403, "role_ceiling")
    assert mails_to("grace@example.com") == []
    assert Api(cast.alice).post(path(cast), {"email": "grace@example.com", "role": "owner"}).status_code == 201


def test_a_member_or_who_was_asked_already_is_not_asked_again(cast) -> None:
    erin = Api(cast.erin)
    member = erin.post(path(cast), {"email": "bob@example.com", "role": "viewer"})
    assert (member.status_code, member.json()["code"]) == (409, "already_member")
    ask(cast)
    again = erin.post(path(cast), {"email": "Grace@Example.com", "role": "viewer"})
    assert (again.status_code, again.json()["code"]) == (409, "already_invited")
    assert len(mails_to("grace@example.com")) == 1
    change(cast, expires_at=now() - timedelta(minutes=1))
    assert erin.post(path(cast), {"email": "grace@example.com", "role": "viewer"}).status_code == 201
    states = [row["state"] for row in erin.get(path(cast)).json()["data"]]
    assert sorted(states) == ["expired", "open"]


@pytest.mark.parametrize("who", ["developer", "billing", "viewer", "stranger", "nobody"])
def test_who_may_not_invite_neither_sees_nor_ends_invitations(cast, who) -> None:
    made, api = ask(cast), rights_of(cast)[who]
    refused = {"stranger": 404, "nobody": 401}.get(who, 403)
    assert api.get(path(cast)).status_code == refused
    assert api.post(path(cast), {"email": "x@example.com", "role": "viewer"}).status_code == refused
    assert api.delete(path(cast, f"/{made.id}")).status_code == refused
    assert api.post(path(cast, f"/{made.id}/resend")).status_code == refused
    assert trail("invitation.revoked") == trail("invitation.resent") == []


def test_an_invitation_of_elsewhere_is_not_there(cast) -> None:
    made = ask(cast)
    charlie = Api(cast.charlie)
    assert charlie.delete(f"/orgs/{cast.elsewhere.id}/invitations/{made.id}").status_code == 404
    assert charlie.post(f"/orgs/{cast.elsewhere.id}/invitations/{made.id}/resend").status_code == 404
    assert charlie.get(f"/orgs/{cast.elsewhere.id}/invitations").json()["data"] == []


def test_a_key_invites_nobody(cast) -> None:
    _, token = make_key(cast, scopes=("read", "admin"))
    answer = Api(token=token).post(path(cast), {"email": "x@example.com", "role": "viewer"})
    assert answer.json()["code"] == "keys_not_allowed"


# ---------------------------------------------------------------- again, and back
def test_sending_again_makes_a_new_link_and_the_old_one_worthless(cast) -> None:
    made = ask(cast)
    first = token_of("grace@example.com")
    too_soon = Api(cast.alice).post(path(cast, f"/{made.id}/resend"))
    assert too_soon.status_code == 429
    assert int(too_soon["Retry-After"]) <= 60
    change(cast, sent_at=now() - timedelta(hours=1))
    answer = Api(cast.alice).post(path(cast, f"/{made.id}/resend"))
    assert (answer.status_code, answer.json()["sendings"]) == (200, 2)
    assert answer.json()["invited_by_id"] == str(cast.alice.id), "who sends it stands for it"
    second = token_of("grace@example.com")
    grace = Api(make_person("grace"))
    assert first != second
    assert grace.post(f"/invitations/{first}/accept").status_code == 404
    assert grace.post(f"/invitations/{second}/accept").status_code == 200


def test_an_invitation_is_sent_six_times_and_no_more(cast) -> None:
    made = ask(cast)
    change(cast, sent_at=now() - timedelta(hours=1), sendings=6)
    answer = Api(cast.erin).post(path(cast, f"/{made.id}/resend"))
    assert (answer.status_code, answer.json()["code"]) == (409, "too_many_sendings")
    assert len(mails_to("grace@example.com")) == 1


def test_nobody_sends_again_what_is_above_them(cast) -> None:
    made = ask(cast, role="owner", by_user_id=cast.alice.id)
    change(cast, sent_at=now() - timedelta(hours=1))
    assert Api(cast.erin).post(path(cast, f"/{made.id}/resend")).json()["code"] == "role_ceiling"
    assert len(mails_to("grace@example.com")) == 1


def test_an_invitation_that_was_taken_back_lets_nobody_in(cast) -> None:
    made, grace = ask(cast), make_person("grace")
    assert Api(cast.erin).delete(path(cast, f"/{made.id}")).status_code == 204
    assert Api(cast.erin).delete(path(cast, f"/{made.id}")).status_code == 204, "again is harmless"
    assert len(trail("invitation.revoked")) == 1
    answer = Api(grace).post(f"/invitations/{token_of('grace@example.com')}/accept")
    assert (answer.status_code, answer.json()["code"]) == (409, "invitation_revoked")
    assert role(cast, grace) is None
    closed = Api(cast.erin).post(path(cast, f"/{made.id}/resend"))
    assert (closed.status_code, closed.json()["code"]) == (409, "invitation_closed")


# ---------------------------------------------------------------- joining
def test_whoever_accepts_joins_with_role_and_team_and_only_once(cast) -> None:
    ask(cast, team_ids=[cast.team.id])
    grace = make_person("grace")
    User.objects.filter(pk=grace.id).update(email_verified_at=None)
    token = token_of("grace@example.com")
    answer = Api(grace).post(f"/invitations/{token}/accept")
    assert (answer.status_code, answer.json()) == (200, {"org_id": str(cast.org.id), "slug": "wonder-looms"})
    assert answer["Referrer-Policy"] == "no-referrer"
    assert role(cast, grace) == "developer"
    assert selectors.is_team_member(org_id=cast.org.id, team_id=cast.team.id, user_id=grace.id)
    assert identity.user_get(grace.id).email_verified, "the link in the mail proves the address"
    [entry] = trail("invitation.accepted")
    assert entry.actor_id == grace.id
    assert published("member.added")[-1]["user_id"] == str(grace.id)
    members.remove_member(org_id=cast.org.id, user_id=grace.id)
    again = Api(grace).post(f"/invitations/{token}/accept")
    assert (again.status_code, again.json()["code"]) == (409, "invitation_used")
    assert role(cast, grace) is None


def test_somebody_with_another_address_is_refused(cast) -> None:
    ask(cast)
    answer = Api(cast.charlie).post(f"/invitations/{token_of('grace@example.com')}/accept")
    assert (answer.status_code, answer.json()["code"]) == (403, "invitation_for_another_address")
    assert role(cast, cast.charlie) is None
    assert trail("invitation.accepted") == []
    assert Api().post(f"/invitations/{token_of('grace@example.com')}/accept").status_code == 401


def test_an_expired_invitation_lets_nobody_in(cast) -> None:
    ask(cast)
    change(cast, expires_at=now())
    grace = make_person("grace")
    answer = Api(grace).post(f"/invitations/{token_of('grace@example.com')}/accept")
    assert (answer.status_code, answer.json()["code"]) == (409, "invitation_expired")
    assert role(cast, grace) is None


@pytest.mark.parametrize("how", ["left", "demoted", "below"])
def test_what_the_inviter_may_no_longer_give_nobody_gets(cast, how) -> None:
    if how == "below":
        members.change_member_role(org_id=cast.org.id, user_id=cast.erin.id, role="owner")
        ask(cast, role="owner")
        members.change_member_role(org_id=cast.org.id, user_id=cast.erin.id, role="admin")
    else:
        ask(cast, role="viewer")
        if how == "left":
            members.remove_member(org_id=cast.org.id, user_id=cast.erin.id)
        else:
            members.change_member_role(org_id=cast.org.id, user_id=cast.erin.id, role="viewer")
    grace = make_person("grace")
    answer = Api(grace).post(f"/invitations/{token_of('grace@example.com')}/accept")
    assert (answer.status_code, answer.json()["code"]) == (409, "invitation_void")
    assert role(cast, grace) is None


def test_nobody_joins_a_suspended_or_deleted_organisation(cast) -> None:
    ask(cast)
    grace, token = Api(make_person("grace")), token_of("grace@example.com")
    members.suspend_organization(org_id=cast.org.id, reason="unpaid")
    assert grace.post(f"/invitations/{token}/accept").json()["code"] == "org_suspended"
    members.resume_organization(org_id=cast.org.id, reason="paid")
    members.delete_organization(org_id=cast.org.id)
    assert grace.post(f"/invitations/{token}/accept").status_code == 404
    assert grace.get(f"/invitations/{token}").status_code == 404


def test_a_link_tells_what_it_is_and_an_unknown_one_tells_nothing(cast) -> None:
    ask(cast)
    answer = Api().get(f"/invitations/{token_of('grace@example.com')}")
    assert answer.status_code == 200
    assert answer["Referrer-Policy"] == "no-referrer"
    seen = answer.json()
    assert (seen["organization"], seen["email"], seen["role"]) == ("Wonder Looms", "grace@example.com", "developer")
    assert (seen["invited_by"], seen["state"]) == ("Erin", "open")
    for unknown in ("unknown", "x" * 500):
        assert Api().get(f"/invitations/{unknown}").status_code == 404


# ---------------------------------------------------------------- seats
def test_members_and_open_invitations_fill_the_seats(cast, plan) -> None:
    plan(6)
    ask(cast)
    body = Api(cast.erin).get(path(cast)).json()
    assert body["seats"] == {"limit": 6, "members": 5, "invitations": 1, "free": 0}
    answer = Api(cast.erin).post(path(cast), {"email": "henry@example.com", "role": "viewer"})
    assert (answer.status_code, answer.json()["code"]) == (403, "plan_limit_reached")
    assert (answer.json()["limit"], answer.json()["members"], answer.json()["invitations"]) == (6, 5, 1)
    assert "6 seats; 5 members and 1 open invitation take 6, and 1 more is wanted" in answer.json()["detail"]
    henry = make_person("henry")
    with pytest.raises(PermissionDenied):
        members.add_member(org_id=cast.org.id, user_id=henry.id, role="viewer")
    assert mails_to("henry@example.com") == []
    # The promised seat is theirs.
    assert Api(make_person("grace")).post(f"/invitations/{token_of('grace@example.com')}/accept").status_code == 200


def test_a_seat_is_free_again_when_an_invitation_ends(cast, plan) -> None:
    plan(6)
    made = ask(cast)
    change(cast, expires_at=now() - timedelta(days=1), sent_at=now() - timedelta(days=8))
    ask(cast, email="henry@example.com")
    refused = Api(cast.erin).post(path(cast, f"/{made.id}/resend"))
    assert refused.json()["code"] == "plan_limit_reached", "an expired one takes a seat anew"
    assert len(mails_to("grace@example.com")) == 1


@pytest.mark.django_db(transaction=True)
def test_of_two_who_take_the_last_seat_at_once_one_gets_it(plan) -> None:
    cast = make_cast()
    plan(6)
    results = at_once(lambda: ask(cast, "one@example.com"), lambda: ask(cast, "two@example.com"))
    assert sum(isinstance(result, PermissionDenied) for result in results) == 1, results
    with org_scope(cast.org.id):
        assert Invitation.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_one_link_used_twice_at_once_lets_one_in() -> None:
    cast = make_cast()
    ask(cast)
    grace, token = make_person("grace"), token_of("grace@example.com")

    def accept():
        return services.accept_invitation(token=token, user_id=grace.id)

    results = at_once(accept, accept)
    assert sum(isinstance(result, Conflict) and result.code == "invitation_used" for result in results) == 1, results
    assert role(cast, grace) == "developer"


# ---------------------------------------------------------------- retention
def test_invitations_are_forgotten_ninety_days_after_their_end(cast) -> None:
    ask(cast)
    ask(cast, email="henry@example.com")
    with org_scope(cast.org.id):
        Invitation.objects.filter(email="grace@example.com").update(expires_at=now() - timedelta(days=91))
    with system_scope("as the job runs"):
        assert services.prune_invitations() == 1
        assert [row.email for row in Invitation.objects.all()] == ["henry@example.com"]
        assert EmailMessage.objects.filter(template="invitation").count() == 2
