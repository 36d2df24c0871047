"""What a verification found: kept with the chain, counted, and told where it is bad."""

import json
import logging
from dataclasses import asdict
from typing import Any

from django.db import connection, transaction

from apps.audit.chain import NO_ORG, write_checkpoint
from apps.audit.contracts import Verified
from apps.core.clock import now
from apps.events.services import publish

__all__ = ["note"]

logger = logging.getLogger(__name__)


def note(result: Verified) -> None:
    """Keep it. A chain found broken for the first time publishes ``audit.chain_broken``; a whole one gets a checkpoint
    where it stands, unless it has one there.
    """
    if not result.complete:
        return
    broken = None if result.broken is None else json.dumps(asdict(result.broken), default=str)
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(
            "SELECT broken IS NOT NULL, position, digest, checkpoint_position FROM audit_chain WHERE chain_id = %s"
            " FOR UPDATE",
            [result.chain_id],
        )
        row = cursor.fetchone()
        cursor.execute(
            "UPDATE audit_chain SET verified_at = %s, verified_position = %s, broken = %s::jsonb WHERE chain_id = %s",
            [now(), result.position, broken, result.chain_id],
        )
        if broken is not None:
            logger.error("audit_chain_broken", extra={"chain": str(result.chain_id), "broken": broken})
            if row is None or not row[0]:
                _tell(result)
        elif row is not None and row[1] > row[3]:
            write_checkpoint(cursor, result.chain_id, row[1], bytes(row[2]), "mark")


def _tell(result: Verified) -> None:
    assert result.broken is not None
    data: dict[str, Any] = {
        "chain_id": str(result.chain_id),
        "position": result.broken.position,
        "entry_id": None if result.broken.entry_id is None else str(result.broken.entry_id),
        "reason": result.broken.reason,
    }
    org_id = None if result.chain_id == NO_ORG else result.chain_id
    publish(type="audit.chain_broken", org_id=org_id, key=str(result.chain_id), data=data)
