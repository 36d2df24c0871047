"""The trail as a file: JSON lines that prove themselves, CSV, or CEF (ArcSight's common event format, revision 25).

Read in batches by key, so that an export of any size needs the memory of one batch and holds no transaction open.
"""

import csv
import io
import json
from base64 import b64encode
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final, Literal
from uuid import UUID

from django.db import connection
from django.http import FileResponse, StreamingHttpResponse

from apps.audit import registry
from apps.audit.chain import COLUMNS, canonical, chain_of, moment_text
from apps.audit.contracts import AuditFilter
from apps.audit.keys import open_keys
from apps.audit.models import AuditExport
from apps.audit.sealed import ERASED, open_box
from apps.audit.selectors import audit_list
from apps.audit.services import note_export
from apps.audit.signing import jwks
from apps.core.clock import now
from apps.core.tenancy import org_scope

__all__ = [
    "CONTENT_TYPES",
    "Exported",
    "Format",
    "cef_line",
    "export_lines",
    "export_response",
    "exported",
    "file_response",
]

Format = Literal["jsonl", "csv", "cef"]
CONTENT_TYPES: Final[dict[str, str]] = {
    "jsonl": "application/x-ndjson",
    "csv": "text/csv; charset=utf-8",
    "cef": "text/plain; charset=utf-8",
}
_BATCH = 1000
# A cell that starts so would be read as a formula by a spreadsheet.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_COLUMNS = (
    "occurred_at", "action", "actor_kind", "actor_id", "actor", "impersonator_id", "ip", "user_agent", "target_type",
    "target_id", "target", "changes", "reason", "correlation_id", "id", "position",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Exported:
    """An entry with what is sealed in it opened, and what proves it: the entry as its digest saw it, salts and values
    of its boxes (None where they were erased), its place in the chain (None while it has none).
    """

    id: UUID
    occurred_at: datetime
    org_id: UUID | None
    values: dict[str, Any]
    entry: dict[str, Any]
    opened: list[tuple[str, str] | None]
    position: int | None
    digest: str | None
    chain: str | None


def exported(pairs: Sequence[tuple[UUID, datetime]]) -> list[Exported]:
    """The entries with these ids and times, in the same order."""
    if not pairs:
        return []
    moments = [moment for _, moment in pairs]
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT {COLUMNS}, s.position, s.digest, s.chain FROM audit_entry e"  # noqa: S608 - columns of our own
            " LEFT JOIN audit_seal s ON s.entry_id = e.id AND s.occurred_at = e.occurred_at"
            " WHERE e.id = ANY(%s) AND e.occurred_at BETWEEN %s AND %s",
            [[entry_id for entry_id, _ in pairs], min(moments), max(moments)],
        )
        rows = {row[0]: row for row in cursor.fetchall()}
    ciphers = open_keys(UUID(box["key"]) for row in rows.values() for box in json.loads(row[16]))
    return [_exported(rows[entry_id], ciphers) for entry_id, _ in pairs if entry_id in rows]


def _exported(row: tuple[Any, ...], ciphers: dict[UUID, Any]) -> Exported:
    *raw, position, digest, chain = row
    entry = canonical(tuple(raw))
    opened = [open_box(row[0], box, ciphers) for box in json.loads(row[16])]
    values = {name: entry[name] for name in ("actor_label", "ip", "user_agent", "target_label", "changes", "reason")}
    for found in opened:
        for name, value in (json.loads(found[1]) if found else {}).items():
            values[name] = {**values[name], **value} if name == "changes" else value
    if None in opened:
        values |= {name: values[name] or ERASED for name in ("actor_label", "target_label")}
    return Exported(
        id=row[0],
        occurred_at=row[1],
        org_id=row[2],
        values=values,
        entry=entry,
        opened=[None if found is None else (b64encode(found[0]).decode(), found[1]) for found in opened],
        position=position,
        digest=None if digest is None else bytes(digest).hex(),
        chain=None if chain is None else bytes(chain).hex(),
    )


# ---------------------------------------------------------------- files
def export_response(org_id: UUID, wanted: AuditFilter, form: Format) -> StreamingHttpResponse:
    """A download of an organisation's trail; recorded as ``audit.exported``."""
    note_export(org_id=org_id, wanted=wanted, form=form)
    response = StreamingHttpResponse(export_lines(org_id, wanted, form), content_type=CONTENT_TYPES[form])
    response.headers["Content-Disposition"] = f'attachment; filename="audit-{now():%Y%m%d-%H%M%S}.{form}"'
    response.headers["Cache-Control"] = "no-store"
    return response


def file_response(row: AuditExport, path: Path) -> FileResponse:
    """A download of a file that a worker made."""
    name = f"audit-{row.created_at:%Y%m%d-%H%M%S}.{row.format}.gz"
    response = FileResponse(path.open("rb"), as_attachment=True, filename=name, content_type="application/gzip")
    response.headers["Cache-Control"] = "no-store"
    return response


def export_lines(
    org_id: UUID, wanted: AuditFilter, form: Format, *, progress: Callable[[int], None] | None = None
) -> Iterator[str]:
    """The lines of an organisation's export, oldest entry first. Opens the scope itself, for each batch, and tells
    ``progress`` after each how many entries there were.
    """
    if form == "csv":
        yield _csv_line(_COLUMNS)
    if form == "jsonl":
        yield _json_line(_header(org_id, wanted))
    count, first, last = 0, 0, 0
    for batch in _batches(org_id, wanted):
        for item in batch:
            count += 1
            if item.position is not None:
                first, last = min(first or item.position, item.position), max(last, item.position)
            yield _line(item, form)
        if progress is not None:
            progress(count)
    if form == "jsonl":
        for mark in _checkpoints(chain_of(org_id), first, last):
            yield _json_line(mark)
        yield _json_line({"type": "end", "entries": count})


def _batches(org_id: UUID, wanted: AuditFilter) -> Iterator[list[Exported]]:
    last: tuple[datetime, UUID] | None = None
    while True:
        with org_scope(org_id):
            rows = audit_list(wanted).order_by("occurred_at", "id")
            if last is not None:
                rows = rows.filter(occurred_at__gte=last[0]).exclude(occurred_at=last[0], id__lte=last[1])
            pairs = list(rows.values_list("id", "occurred_at")[:_BATCH])
            batch = exported(pairs)
        if not pairs:
            return
        yield batch
        last = (pairs[-1][1], pairs[-1][0])


def _line(item: Exported, form: Format) -> str:
    if form == "csv":
        return _csv_line(_cells(item))
    return cef_line(item) + "\n" if form == "cef" else _json_line(json_body(item))


def _header(org_id: UUID, wanted: AuditFilter) -> dict[str, Any]:
    asked = {name: value for name, value in asdict(wanted).items() if value is not None}
    return {
        "type": "header",
        "format": "mindweave.audit.export.v1",
        "chain": str(chain_of(org_id)),
        "exported_at": moment_text(now()),
        "filter": {name: _plain(value) for name, value in asked.items()},
        "keys": jwks()["keys"],
    }  # fmt: skip


def _plain(value: Any) -> str:
    return moment_text(value) if isinstance(value, datetime) else str(value)


def json_body(item: Exported) -> dict[str, Any]:
    """An entry as a line of JSON has it: what is to be read, and under ``proof`` what proves it."""
    entry, values = item.entry, item.values
    return {
        "type": "entry",
        "id": str(item.id),
        "occurred_at": entry["occurred_at"],
        "org_id": entry["org_id"],
        "action": entry["action"],
        "actor": {
            "kind": entry["actor_kind"],
            "id": entry["actor_id"],
            "label": values["actor_label"],
            "impersonator_id": entry["impersonator_id"],
            "ip": values["ip"],
            "user_agent": values["user_agent"],
        },
        "target": {"type": entry["target_type"], "id": entry["target_id"], "label": values["target_label"]},
        "changes": values["changes"],
        "reason": values["reason"],
        "correlation_id": entry["correlation_id"],
        "proof": {
            "entry": entry,
            "opened": item.opened,
            "position": item.position,
            "digest": item.digest,
            "chain": item.chain,
        },
    }


def _json_line(body: dict[str, Any]) -> str:
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")) + "\n"


def _checkpoints(chain_id: UUID, first: int, last: int) -> list[dict[str, Any]]:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT position, kind, digest, made_at, key_id, signature FROM audit_checkpoint"
            " WHERE chain_id = %s AND position BETWEEN %s AND %s ORDER BY position",
            [chain_id, first, last],
        )
        rows = cursor.fetchall()
    return [
        {
            "type": "checkpoint",
            "chain": str(chain_id),
            "position": position,
            "kind": kind,
            "digest": bytes(digest).hex(),
            "at": moment_text(made_at),
            "key": str(key_id),
            "signature": b64encode(bytes(signature)).decode(),
        }
        for position, kind, digest, made_at, key_id, signature in rows
    ]


# ---------------------------------------------------------------- CSV
def _cells(item: Exported) -> list[Any]:
    entry, values = item.entry, item.values
    changes = json.dumps(values["changes"], ensure_ascii=False) if values["changes"] else ""
    return [
        entry["occurred_at"], entry["action"], entry["actor_kind"], entry["actor_id"], values["actor_label"],
        entry["impersonator_id"], values["ip"], values["user_agent"], entry["target_type"], entry["target_id"],
        values["target_label"], changes, values["reason"], entry["correlation_id"], item.id, item.position,
    ]  # fmt: skip


def _csv_line(cells: Sequence[Any]) -> str:
    buffer = io.StringIO()
    csv.writer(buffer).writerow([_cell(value) for value in cells])
    return buffer.getvalue()


def _cell(value: Any) -> str:
    text = "" if value is None else str(value)
    return f"'{text}" if isinstance(value, str) and text.startswith(_FORMULA) else text


# ---------------------------------------------------------------- CEF
def cef_line(item: Exported) -> str:
    """One event of the common event format, without a syslog header and without a line feed."""
    entry, values = item.entry, item.values
    name = registry.actions().get(entry["action"], entry["action"])
    header = ["CEF:0", "MindWeave", "MindWeave", "1", entry["action"], name, str(_severity(entry["action"]))]
    ip = values["ip"] or ""
    fields: dict[str, Any] = {
        "rt": int(item.occurred_at.timestamp() * 1000),
        "externalId": item.id,
        "outcome": "failure" if "refused" in entry["action"] else "success",
        "suid": entry["actor_id"],
        "suser": values["actor_label"],
        "src" if ":" not in ip else "c6a2": ip,
        "c6a2Label": "Source IPv6 Address" if ":" in ip else None,
        "requestClientApplication": values["user_agent"],
        "reason": values["reason"],
        "cs1Label": "targetType", "cs1": entry["target_type"],
        "cs2Label": "targetId", "cs2": entry["target_id"],
        "cs3Label": "target", "cs3": values["target_label"],
        "cs4Label": "changes", "cs4": json.dumps(values["changes"], ensure_ascii=False) if values["changes"] else "",
        "cs5Label": "correlationId", "cs5": entry["correlation_id"],
        "cs6Label": "organization", "cs6": entry["org_id"],
        "sproc": entry["actor_kind"],
        "duid": entry["impersonator_id"],
    }  # fmt: skip
    empty = {f"{field}Label" for field, value in fields.items() if value in (None, "")}
    extension = " ".join(
        f"{field}={_cef_value(str(value))}"
        for field, value in fields.items()
        if value not in (None, "") and field not in empty
    )
    return "|".join(header[:1] + [_cef_header(part) for part in header[1:]]) + f"|{extension}"


def _severity(action: str) -> int:
    if "refused" in action or action.startswith(("impersonation.", "audit.")):
        return 6
    return 5 if action.endswith((".deleted", ".removed", ".revoked", ".invalid", ".disabled")) else 3


def _cef_header(text: str) -> str:
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("\r", " ").replace("\n", " ")


def _cef_value(text: str) -> str:
    return (
        text.replace("\\", "\\\\").replace("=", "\\=").replace("\r\n", "\\n").replace("\n", "\\n").replace("\r", "\\r")
    )
