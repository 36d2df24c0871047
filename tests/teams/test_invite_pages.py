"""The pages of invitations: asking, and where the link of the mail leads."""

import re

from django.core.files.uploadedfile import SimpleUploadedFile

from apps.accounts import selectors as accounts
from apps.identity import selectors as identity
from apps.teams import services
from tests.cast import PASSWORD, Api, make_person
from tests.teams.mail import mails_to, token_of

HTML = {"accept": "text/html"}


def settings(cast, rest: str) -> str:
    return f"/o/{cast.org.slug}/settings/members{rest}"


def ask(cast, email: str = "grace@example.com") -> str:
    services.invite_member(
        org_id=cast.org.id, email=email, role="developer", message="Do come", by_user_id=cast.erin.id
    )
    return token_of(email)


def opened(token: str, who=None):
    """A browser that opened the link, and the page where it ended."""
    client = Api(who).client
    first = client.get(f"/invite/{token}", headers=HTML)
    assert (first.status_code, first["Location"], first["Referrer-Policy"]) == (302, "/invite", "no-referrer")
    return client, client.get("/invite", headers=HTML)


def role(cast, email: str) -> str | None:
    person = identity.user_by_email(email)
    return accounts.role_of(org_id=cast.org.id, user_id=person.id) if person else None


def test_somebody_new_signs_up_and_is_in(cast) -> None:
    client, page = opened(ask(cast))
    body = page.content.decode()
    assert page.status_code == 200
    assert "Erin invites you" in body
    assert "Do come" in body
    assert 'value="grace@example.com" readonly' in body
    weak = client.post("/invite", {"name": "Grace", "password": "short"}, headers=HTML)
    assert weak.status_code == 400
    assert identity.user_by_email("grace@example.com") is None
    done = client.post("/invite", {"name": "Grace", "password": PASSWORD}, headers=HTML)
    assert (done.status_code, done["Location"]) == (302, "/o/wonder-looms/")
    assert client.get("/o/wonder-looms/", headers=HTML).status_code == 200
    grace = identity.user_by_email("grace@example.com")
    assert grace is not None
    assert grace.email_verified
    assert role(cast, "grace@example.com") == "developer"
    assert client.get("/invite", headers=HTML).status_code == 404, "the link is used up in this browser"


def test_the_address_of_a_new_account_is_the_invitations_whatever_is_sent(cast) -> None:
    client, _ = opened(ask(cast))
    client.post("/invite", {"name": "M", "password": PASSWORD, "email": "mallory@example.com"}, headers=HTML)
    assert identity.user_by_email("mallory@example.com") is None
    assert role(cast, "grace@example.com") == "developer"


def test_somebody_with_an_account_signs_in_and_comes_back_to_join(cast) -> None:
    make_person("grace")
    client, page = opened(ask(cast))
    assert 'href="/login?next=/invite"' in page.content.decode()
    answer = client.post(
        "/login", {"email": "grace@example.com", "password": PASSWORD, "next": "/invite"}, headers=HTML
    )
    assert answer["Location"] == "/invite"
    assert "You are signed in as" in client.get("/invite", headers=HTML).content.decode()
    assert role(cast, "grace@example.com") is None, "nobody joins by looking"
    assert client.post("/invite", {}, headers=HTML)["Location"] == "/o/wonder-looms/"
    assert role(cast, "grace@example.com") == "developer"


def test_an_account_that_exists_is_not_made_again(cast) -> None:
    make_person("grace")
    client, _ = opened(ask(cast))
    answer = client.post("/invite", {"name": "Grace", "password": "another long password 9"}, headers=HTML)
    assert answer.status_code == 400
    assert "sign in" in answer.content.decode()
    assert role(cast, "grace@example.com") is None


def test_somebody_else_is_told_whose_it_is_and_may_sign_out_and_go_on(cast) -> None:
    client, page = opened(ask(cast), cast.charlie)
    body = page.content.decode()
    assert "This invitation is not for this account" in body
    assert "grace@example.com" in body
    assert "charlie@example.com" in body
    refused = client.post("/invite", {}, headers=HTML)
    assert refused.status_code == 403
    assert role(cast, "charlie@example.com") is None
    assert client.post("/invite", {"switch": "1"}, headers=HTML)["Location"] == "/invite"
    assert "Make the account and join" in client.get("/invite", headers=HTML).content.decode()


def test_a_link_that_means_nothing_says_what_to_do(cast) -> None:
    _, page = opened("unknown")
    assert page.status_code == 404
    assert "This invitation is not known" in page.content.decode()


def test_a_link_that_ended_says_so(cast) -> None:
    token = ask(cast)
    made = Api(cast.erin).get(f"/orgs/{cast.org.id}/invitations").json()["data"][0]
    services.revoke_invitation(org_id=cast.org.id, invitation_id=made["id"])
    client, page = opened(token)
    assert page.status_code == 410
    assert "was taken back" in page.content.decode()
    assert client.post("/invite", {"name": "Grace", "password": PASSWORD}, headers=HTML).status_code == 410
    assert identity.user_by_email("grace@example.com") is None


# ---------------------------------------------------------------- settings
def test_the_list_shows_what_became_of_each_and_offers_what_can_be_done(cast) -> None:
    ask(cast)
    erin = Api(cast.erin).client
    body = erin.get(settings(cast, "/invitations"), headers=HTML).content.decode()
    assert "grace@example.com" in body
    assert "Take back" in body
    action = re.search(r'action="([^"]+/revoke)"', body)
    assert action is not None
    erin.post(action[1], headers=HTML)
    body = erin.get(settings(cast, "/invitations"), headers=HTML).content.decode()
    assert "Taken back" in body
    assert 'type="submit">Take back' not in body
    assert Api(cast.dora).client.get(settings(cast, "/invitations"), headers=HTML).status_code == 403


def test_many_are_asked_once_their_lines_were_looked_through(cast) -> None:
    erin = Api(cast.erin).client
    file = SimpleUploadedFile("people.csv", b"new@example.com,viewer,Loom\nbob@example.com,viewer,\n", "text/csv")
    looked = erin.post(settings(cast, "/invite"), {"file": file, "role": "developer"}, headers=HTML)
    body = looked.content.decode()
    assert looked.status_code == 200
    assert "1 of 2 can be invited" in body
    assert "They are a member already" in body
    assert mails_to("new@example.com") == []
    once = re.search(r'name="once" value="(\w+)"', body)
    assert once is not None
    form = {"csv": file_text(body), "role": "developer", "once": once[1], "send": "1"}
    assert erin.post(settings(cast, "/invite"), form, headers=HTML).status_code == 302
    assert len(mails_to("new@example.com")) == 1
    erin.post(settings(cast, "/invite"), form, headers=HTML)
    assert len(mails_to("new@example.com")) == 1, "sent twice it counts once"


def file_text(body: str) -> str:
    found = re.search(r"<textarea name=\"csv\"[^>]*>(.*?)</textarea>", body, re.DOTALL)
    assert found is not None
    return found[1]


def test_a_file_that_is_none_is_refused_on_the_form(cast) -> None:
    erin = Api(cast.erin).client
    file = SimpleUploadedFile("people.xlsx", b"PK\x03\x04\xff\xfe\xfa", "application/octet-stream")
    answer = erin.post(settings(cast, "/invite"), {"file": file, "role": "viewer"}, headers=HTML)
    assert answer.status_code == 400
    assert "UTF-8" in answer.content.decode()
    assert erin.post(settings(cast, "/invite"), {"role": "viewer"}, headers=HTML).status_code == 400
