from argparse import ArgumentParser
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from django.core.management.base import BaseCommand, CommandError

from apps.audit.chain import NO_ORG
from apps.audit.services import note_verification
from apps.audit.verify import chains, verify_chain


class Command(BaseCommand):
    help = "Verify the chains of the audit trail; exits 1 and names the first broken entry of each that is not whole."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--org", type=UUID, help="only this organisation's chain")
        parser.add_argument(
            "--since", type=datetime.fromisoformat, help="from the last checkpoint before this moment (ISO 8601)"
        )

    def handle(self, *args: Any, org: UUID | None, since: datetime | None, **options: Any) -> None:
        if since is not None and since.tzinfo is None:
            since = since.replace(tzinfo=UTC)
        broken = 0
        for chain_id in [org] if org else chains():
            result = verify_chain(chain_id, since=since)
            if since is None:
                note_verification(result)
            name = "no organisation" if chain_id == NO_ORG else str(chain_id)
            if result.broken is None:
                self.stdout.write(
                    f"{name}: whole, {result.from_position} to {result.position}, {result.checkpoints} checkpoints"
                )
                continue
            broken += 1
            found = result.broken
            self.stdout.write(
                f"{name}: BROKEN at position {found.position}, entry {found.entry_id}: {found.reason} ({found.detail})"
            )
        if broken:
            raise CommandError(f"{broken} of the chains are broken")
