import re
import socket
from collections.abc import Iterator
from datetime import timedelta
from email.message import EmailMessage as ParsedMail

import pytest
from django.db import connection, transaction
from django.template import TemplateDoesNotExist
from django.test import Client

from apps.core import clock
from apps.core.context import bind
from apps.core.ids import uuid7
from apps.core.tenancy import org_scope, system_scope
from apps.events.delivery import drain
from apps.events.queues import sync_subscriptions
from apps.events.relay import relay
from apps.events.services import publish
from apps.notify import services
from apps.notify.checks import check_mail_goes_out
from apps.notify.models import EmailMessage
from apps.notify.services import deliver_email, prune_emails, send_email, sweep_emails
from apps.scheduler import background


def mails() -> list[EmailMessage]:
    with system_scope("the test looks at all"):
        return list(EmailMessage.objects.order_by("created_at"))


@pytest.fixture
def sent_tasks(monkeypatch) -> list[dict]:
    """The tasks that were sent to the broker, instead of sending them."""
    tasks: list[dict] = []
    monkeypatch.setattr(background.BackgroundTask, "apply_async", lambda self, **call: tasks.append(call))
    return tasks


def welcome(to: str = "alice@example.com", **context) -> object:
    return send_email(to=to, template="welcome", context={"name": "Alice", "email": to, **context}, org_id=None)


@pytest.mark.django_db(transaction=True)
def test_a_mail_goes_out_after_the_commit_and_never_without_it(sent_tasks) -> None:
    with transaction.atomic():
        mail_id = welcome()
        assert sent_tasks == []
    assert [task["kwargs"] for task in sent_tasks] == [{"email_id": str(mail_id)}]

    with transaction.atomic():
        welcome("bob@example.com")
        transaction.set_rollback(True)
    assert len(sent_tasks) == 1
    assert [mail.to for mail in mails()] == ["alice@example.com"]


def test_a_mail_has_a_text_and_an_html_form_and_a_stable_id(db, mailoutbox) -> None:
    with bind(correlation_id="c-1"):
        mail_id = welcome()
    assert deliver_email(email_id=mail_id)
    [message] = mailoutbox
    assert message.subject == "Welcome to MindWeave"
    assert message.to == ["alice@example.com"]
    assert message.body.startswith("Hello Alice,\n")
    [(html, kind)] = message.alternatives
    assert kind == "text/html"
    assert "<p>Hello Alice,</p>" in html
    parsed: ParsedMail = message.message()
    assert parsed["Message-ID"] == f"<{mail_id}@mindweave>"
    assert parsed["X-Correlation-Id"] == "c-1"


def test_what_people_call_themselves_is_text_in_both_forms(db, mailoutbox) -> None:
    deliver_email(email_id=welcome(name="<b>Eve</b> & co"))
    [message] = mailoutbox
    assert "Hello <b>Eve</b> & co," in message.body
    assert "Hello &lt;b&gt;Eve&lt;/b&gt; &amp; co," in message.alternatives[0][0]


def test_a_mail_is_sent_once_however_often_its_task_comes(db, mailoutbox) -> None:
    mail_id = welcome()
    assert deliver_email(email_id=mail_id) is True
    assert deliver_email(email_id=mail_id) is False
    assert len(mailoutbox) == 1


def test_a_mail_in_the_hands_of_one_worker_is_not_taken_by_another(db, mailoutbox, monkeypatch) -> None:
    mail_id = welcome()
    nested = []
    hand_over = services._hand_over

    def meanwhile(email: EmailMessage) -> None:
        nested.append(deliver_email(email_id=mail_id))
        hand_over(email)

    monkeypatch.setattr(services, "_hand_over", meanwhile)
    assert deliver_email(email_id=mail_id) is True
    assert nested == [False]
    assert len(mailoutbox) == 1


def test_the_text_of_a_sent_mail_is_kept_for_the_development_mailbox_only(db, settings, mailoutbox) -> None:
    settings.MINDWEAVE_DEV_MAILBOX = True
    deliver_email(email_id=welcome("kept@example.com"))
    settings.MINDWEAVE_DEV_MAILBOX = False
    deliver_email(email_id=welcome("wiped@example.com"))
    kept, wiped = mails()
    assert "Hello" in kept.text
    assert (wiped.text, wiped.html, wiped.status) == ("", "", "sent")
    assert len(mailoutbox) == 2


def test_the_text_of_a_waiting_mail_is_encrypted_in_the_database(db) -> None:
    mail_id = welcome()
    with connection.cursor() as cursor:
        cursor.execute("SELECT text, html FROM notify_email WHERE id = %s", [mail_id])
        stored = b"".join(bytes(value) for value in cursor.fetchone())
    assert b"Alice" not in stored


@pytest.fixture
def broken_smtp(settings) -> None:
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", 1


@pytest.mark.django_db(transaction=True)
def test_a_mail_that_could_not_be_sent_is_put_off_and_given_up_in_the_end(broken_smtp, sent_tasks) -> None:
    mail_id = welcome()
    moment = clock.now()
    for attempt in range(1, services.MAX_ATTEMPTS + 1):
        [mail] = mails()
        assert (mail.status, mail.attempts) == ("queued", attempt - 1)
        with clock.freeze(moment):
            assert deliver_email(email_id=mail_id) is False
        moment += timedelta(hours=2)
    [mail] = mails()
    assert (mail.status, mail.attempts) == ("failed", services.MAX_ATTEMPTS)
    assert "ConnectionRefusedError" in mail.error
    # the first task, and one for each attempt but the last
    assert len(sent_tasks) == services.MAX_ATTEMPTS
    assert all(task["countdown"] >= 15 for task in sent_tasks[1:])


@pytest.mark.django_db(transaction=True)
def test_a_mail_whose_message_was_lost_is_swept_up(sent_tasks) -> None:
    welcome()
    sent_tasks.clear()
    assert sweep_emails() == 0, "it is not late yet"
    with clock.freeze(clock.now() + timedelta(minutes=2)):
        assert sweep_emails() == 1
    assert len(sent_tasks) == 1


@pytest.mark.django_db(transaction=True)
def test_a_mail_is_kept_although_the_broker_is_away(monkeypatch) -> None:
    def away(self, **call) -> None:
        raise ConnectionRefusedError

    monkeypatch.setattr(background.BackgroundTask, "apply_async", away)
    with transaction.atomic():
        welcome()
    assert [mail.status for mail in mails()] == ["queued"]


def test_mails_are_removed_after_a_month(db, mailoutbox) -> None:
    with clock.freeze(clock.now() - timedelta(days=31)):
        welcome("old@example.com")
    welcome("new@example.com")
    assert prune_emails() == 1
    assert [mail.to for mail in mails()] == ["new@example.com"]


def test_a_missing_template_is_told_to_the_caller(db) -> None:
    with pytest.raises(TemplateDoesNotExist):
        send_email(to="alice@example.com", template="no_such", context={}, org_id=None)


def test_an_organisation_sees_its_own_mails_only(db) -> None:
    ours, theirs = uuid7(), uuid7()
    for org_id in (ours, theirs, None):
        send_email(to="alice@example.com", template="welcome", context={}, org_id=org_id)
    with org_scope(ours):
        assert [mail.org_id for mail in EmailMessage.objects.all()] == [ours]


# ---------------------------------------------------------------- who is written to because of what
def test_a_person_who_registered_is_greeted(db) -> None:
    sync_subscriptions()
    with transaction.atomic():
        user_id = uuid7()
        data = {"user_id": user_id, "email": "dora@example.com", "name": "Dora"}
        publish(type="user.created", data=data, org_id=None, user_id=user_id)
    relay()
    drain("notify.welcome")
    assert [(mail.to, mail.subject) for mail in mails()] == [("dora@example.com", "Welcome to MindWeave")]


# ---------------------------------------------------------------- a real SMTP server
@pytest.fixture
def smtp_server(settings) -> Iterator[list]:
    from aiosmtpd.controller import Controller

    received: list = []

    class Handler:
        async def handle_DATA(self, server, session, envelope) -> str:
            received.append(envelope)
            return "250 OK"

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    controller = Controller(Handler(), hostname="127.0.0.1", port=port)
    controller.start()
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", port
    yield received
    controller.stop()


def test_a_mail_reaches_a_real_smtp_server(db, smtp_server, settings) -> None:
    assert deliver_email(email_id=welcome())
    [envelope] = smtp_server
    assert envelope.rcpt_tos == ["alice@example.com"]
    text = envelope.content.decode()
    assert "Subject: Welcome to MindWeave" in text
    assert "multipart/alternative" in text


def test_the_address_of_the_smtp_server_comes_from_email_url() -> None:
    from environ import Env

    config = Env.email_url_config("smtp+tls://user:p%40ss@mail.example.com:587")
    assert config["EMAIL_HOST"] == "mail.example.com"
    assert (config["EMAIL_PORT"], config["EMAIL_HOST_PASSWORD"], config["EMAIL_USE_TLS"]) == (587, "p@ss", True)


def test_a_deployment_whose_mail_goes_nowhere_is_told_so(settings) -> None:
    settings.EMAIL_BACKEND = "django.core.mail.backends.dummy.EmailBackend"
    settings.MINDWEAVE_DEV_MAILBOX = False
    assert [message.id for message in check_mail_goes_out(None)] == ["notify.W001"]
    settings.MINDWEAVE_DEV_MAILBOX = True
    assert check_mail_goes_out(None) == []
    settings.MINDWEAVE_DEV_MAILBOX = False
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    assert check_mail_goes_out(None) == []


# ---------------------------------------------------------------- the development mailbox
def test_the_development_mailbox_lists_mails_and_shows_one(db, settings, mailoutbox, client: Client) -> None:
    settings.MINDWEAVE_DEV_MAILBOX = True
    deliver_email(email_id=welcome())
    welcome("bob@example.com")
    listed = client.get("/dev/mail").content.decode()
    assert re.findall(r"\w+@example\.com(?=</a>)", listed) == ["bob@example.com", "alice@example.com"]
    narrowed = client.get("/dev/mail", {"to": "alice@example.com"}).content.decode()
    assert "bob@example.com" not in narrowed
    [_, alice] = [mail.pk for mail in reversed(mails())]
    assert "Hello Alice," in client.get(f"/dev/mail/{alice}").content.decode()


def test_the_html_of_a_mail_is_shown_where_it_can_do_nothing(db, settings, client: Client) -> None:
    settings.MINDWEAVE_DEV_MAILBOX = True
    mail_id = welcome()
    response = client.get(f"/dev/mail/{mail_id}/html")
    assert "<p>Hello Alice,</p>" in response.content.decode()
    assert response.headers["Content-Security-Policy"].startswith("default-src 'none';")
    assert "sandbox" in response.headers["Content-Security-Policy"]
    assert response.headers["X-Frame-Options"] == "SAMEORIGIN"


@pytest.mark.parametrize("path", ["/dev/mail", "/dev/mail/{id}", "/dev/mail/{id}/html"])
def test_the_mailbox_does_not_exist_where_it_is_not_switched_on(db, settings, client: Client, path) -> None:
    settings.MINDWEAVE_DEV_MAILBOX = False
    mail_id = welcome()
    response = client.get(path.format(id=mail_id))
    assert response.status_code == 404
    assert "Alice" not in response.content.decode()


def test_a_mail_that_does_not_exist_is_404(db, settings, client: Client) -> None:
    settings.MINDWEAVE_DEV_MAILBOX = True
    assert client.get(f"/dev/mail/{uuid7()}").status_code == 404
