"""Sending sealed entries on, in the order of the chain, at least once: to a webhook or a syslog receiver.

A webhook gets ``POST``s of up to a hundred entries, signed as Standard Webhooks (1.0) says; any 2xx confirms them. A
syslog receiver gets RFC 5424 messages, over TLS (RFC 5425) and TCP (RFC 6587) with their length in front, over UDP one
a datagram. What fails is tried again, each time later; after three days a stream is dead until somebody resumes it.
"""

import base64
import hmac
import json
import logging
import secrets
import socket
import ssl
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Protocol
from urllib.parse import urlsplit
from uuid import UUID

from django.conf import settings
from django.db import connection, transaction

from apps.audit.chain import chain_of
from apps.audit.export import Exported, cef_line, exported, json_body
from apps.audit.models import AuditStream
from apps.core.backoff import backoff
from apps.core.clock import now
from apps.core.errors import FieldError, ValidationFailed
from apps.core.http import HTTPError, OutboundRefused, fetch, resolve
from apps.core.tenancy import system_scope
from apps.events.services import publish

__all__ = [
    "Receiver",
    "StreamFailed",
    "check_url",
    "deliver_due",
    "deliver_now",
    "lag_of",
    "new_secret",
    "send_batch",
    "syslog_message",
    "webhook_headers",
]

logger = logging.getLogger(__name__)

TOGETHER, BATCHES = 100, 10
DEAD_AFTER = timedelta(days=3)
_FIRST, _LONGEST = timedelta(seconds=5), timedelta(hours=1)
_TIMEOUT = 10.0
_PORTS = {"syslog+tls": 6514, "syslog+tcp": 601, "syslog+udp": 514}
# Facility 13 (log audit), severity 5 (notice).
_PRIORITY = 13 * 8 + 5


class Receiver(Protocol):
    """What sending asks of a stream: an organisation's, or the one of whoever runs the installation."""

    @property
    def pk(self) -> Any: ...
    @property
    def url(self) -> str: ...
    @property
    def format(self) -> str: ...
    @property
    def secret(self) -> str: ...
    @property
    def former_secret(self) -> str | None: ...
    @property
    def former_until(self) -> datetime | None: ...
    @property
    def ca_pem(self) -> str: ...


class StreamFailed(Exception):
    """The receiver did not take it; the message says why."""


def new_secret() -> str:
    """A secret that signs a webhook's calls, in the form that Standard Webhooks gives them."""
    return f"whsec_{base64.b64encode(secrets.token_bytes(32)).decode()}"


def check_url(url: str) -> None:
    """Raise :class:`ValidationFailed` unless it is an address that a stream can be sent to."""
    parts = urlsplit(url)
    plain = parts.scheme == "http" and (parts.hostname or "") in settings.OUTBOUND_ALLOWED_HOSTS
    known = parts.scheme == "https" or parts.scheme in _PORTS or plain
    if not known or not parts.hostname or parts.username or parts.password:
        wrong: FieldError = {
            "pointer": "/url",
            "detail": "an https:// address, or syslog+tls://, syslog+tcp:// or syslog+udp:// with a host",
        }
        raise ValidationFailed("The stream cannot be sent there", errors=[wrong])


# ---------------------------------------------------------------- delivery
def deliver_due() -> int:
    """Send what waits to every stream that is due; returns how many entries were confirmed."""
    with system_scope("streams of every organisation are served"):
        due = list(AuditStream.objects.filter(state=AuditStream.State.ACTIVE).exclude(retry_at__gt=now()))
        return sum(_serve(stream.pk) for stream in due)


def _serve(stream_id: UUID) -> int:
    """Serve one stream, if nobody else does; no transaction is open while the receiver is waited for."""
    lock = f"audit.stream:{stream_id}"
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_lock(hashtextextended(%s, 0))", [lock])
        if not cursor.fetchone()[0]:
            return 0
    try:
        stream = AuditStream.objects.filter(pk=stream_id, state=AuditStream.State.ACTIVE).first()
        return 0 if stream is None else _drain(stream)
    finally:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_unlock(hashtextextended(%s, 0))", [lock])


def _drain(stream: AuditStream) -> int:
    sent = 0
    for _ in range(BATCHES):
        batch, position = _next(stream)
        if position is None:
            break
        try:
            if batch:
                send_batch(stream, batch, name=f"{batch[0].position}-{batch[-1].position}")
        except (StreamFailed, OutboundRefused, HTTPError, OSError) as error:
            _failed(stream, str(error) or type(error).__name__)
            break
        sent += len(batch)
        stream.position = position
        AuditStream.objects.filter(pk=stream.pk).update(
            position=position, attempts=0, failing_since=None, retry_at=None, last_error="", sent_at=now()
        )
    return sent


def _next(stream: AuditStream) -> tuple[list[Exported], int | None]:
    """The entries behind the stream's position, and the position behind them; None where there are none."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT position, entry_id, occurred_at FROM audit_seal WHERE chain_id = %s AND position > %s"
            " ORDER BY position LIMIT %s",
            [chain_of(stream.org_id), stream.position, TOGETHER],
        )
        rows = cursor.fetchall()
    if not rows:
        return [], None
    return exported([(entry_id, moment) for _, entry_id, moment in rows]), rows[-1][0]


def _failed(stream: AuditStream, error: str) -> None:
    moment = now()
    since = stream.failing_since or moment
    dead = moment - since >= DEAD_AFTER
    wait = backoff(stream.attempts + 1, first=_FIRST, longest=_LONGEST)
    if dead:
        with transaction.atomic():
            publish(
                type="audit.stream_dead",
                org_id=stream.org_id,
                data={"stream_id": str(stream.pk), "name": stream.name, "error": error[:500]},
            )
    AuditStream.objects.filter(pk=stream.pk).update(
        attempts=stream.attempts + 1,
        failing_since=since,
        retry_at=moment + wait,
        last_error=error[:500],
        state=AuditStream.State.DEAD if dead else AuditStream.State.ACTIVE,
    )
    logger.warning("audit_stream_failed", extra={"stream": str(stream.pk), "error": error, "dead": dead})


def deliver_now(stream: AuditStream) -> str:
    """Send a message that says it is a test; empty where it was taken, else why it was not."""
    moment = now()
    try:
        if urlsplit(stream.url).scheme in _PORTS:
            body = json.dumps({"type": "audit.test", "stream": str(stream.pk)})
            _syslog(stream, [syslog_message(moment, "audit.test", body)])
        else:
            _post(stream, f"test.{int(moment.timestamp())}", {"type": "audit.test", "stream": str(stream.pk)}, moment)
    except (StreamFailed, OutboundRefused, HTTPError, OSError) as error:
        return (str(error) or type(error).__name__)[:500]
    return ""


def lag_of(stream: AuditStream) -> int:
    """How many sealed entries its receiver has not confirmed."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT position FROM audit_chain WHERE chain_id = %s", [chain_of(stream.org_id)])
        row = cursor.fetchone()
    return max(0, row[0] - stream.position) if row else 0


def send_batch(stream: Receiver, batch: Sequence[Exported], *, name: str) -> None:
    """Send entries together; ``name`` is what the receiver knows the same batch by when it comes again.

    :class:`StreamFailed`, ``OutboundRefused``, ``HTTPError`` or ``OSError`` where they did not arrive.
    """
    if urlsplit(stream.url).scheme not in _PORTS:
        bodies: list[Any] = [cef_line(item) if stream.format == "cef" else json_body(item) for item in batch]
        _post(stream, f"{stream.pk}.{name}", {"type": "audit.entries", "data": bodies}, now())
        return
    _syslog(
        stream,
        [
            syslog_message(
                item.occurred_at,
                item.entry["action"],
                cef_line(item) if stream.format == "cef" else json.dumps(json_body(item), ensure_ascii=False),
            )
            for item in batch
        ],
    )


# ---------------------------------------------------------------- webhook
def webhook_headers(name: str, body: bytes, moment: datetime, secrets_: Sequence[str]) -> dict[str, str]:
    """The headers of Standard Webhooks: one signature for each secret that is valid."""
    stamp = str(int(moment.timestamp()))
    signed = f"{name}.{stamp}.".encode() + body
    signatures = [
        "v1," + base64.b64encode(hmac.digest(base64.b64decode(each.removeprefix("whsec_")), signed, "sha256")).decode()
        for each in secrets_
    ]
    return {"webhook-id": name, "webhook-timestamp": stamp, "webhook-signature": " ".join(signatures)}


def _post(stream: Receiver, name: str, body: dict[str, Any], moment: datetime) -> None:
    content = json.dumps(body, ensure_ascii=False).encode()
    valid = [stream.secret]
    if stream.former_secret and stream.former_until and stream.former_until > moment:
        valid.append(stream.former_secret)
    headers = {**webhook_headers(name, content, moment, valid), "Content-Type": "application/json"}
    response = fetch("POST", stream.url, content=content, headers=headers, max_bytes=64 * 1024)
    if not 200 <= response.status_code < 300:
        raise StreamFailed(f"the receiver answered {response.status_code}")


# ---------------------------------------------------------------- syslog
def syslog_message(moment: datetime, action: str, body: str) -> bytes:
    """An RFC 5424 message; the id of the kind of message is the action, without a BOM, which few receivers want."""
    stamp = moment.isoformat(timespec="microseconds").replace("+00:00", "Z")
    host = urlsplit(settings.JWT_ISSUER).hostname or "mindweave"
    return f"<{_PRIORITY}>1 {stamp} {host} mindweave - {action[:32]} - {body}".encode()


def _syslog(stream: Receiver, messages: Sequence[bytes]) -> None:
    parts = urlsplit(stream.url)
    host, port = parts.hostname or "", parts.port or _PORTS[parts.scheme]
    address = resolve(host, port)[0]
    if parts.scheme == "syslog+udp":
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        with socket.socket(family, socket.SOCK_DGRAM) as datagrams:
            for message in messages:
                datagrams.sendto(message, (address, port))
        return
    with socket.create_connection((address, port), timeout=_TIMEOUT) as plain:
        framed = b"".join(b"%d %b" % (len(message), message) for message in messages)
        if parts.scheme == "syslog+tcp":
            _hand_over(plain, framed)
            return
        context = ssl.create_default_context(cadata=stream.ca_pem or None)
        with context.wrap_socket(plain, server_hostname=host) as sealed:
            _hand_over(sealed, framed)


def _hand_over(stream: socket.socket, framed: bytes) -> None:
    """Write all of it and close our side: a receiver that is gone is noticed here, as far as TCP can tell."""
    stream.sendall(framed)
    if not isinstance(stream, ssl.SSLSocket):
        stream.shutdown(socket.SHUT_WR)
