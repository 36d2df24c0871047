"""What analytics hears on the bus for the sake of open pages."""

from apps.analytics.live import on_batch, on_member_removed
from apps.events.registry import subscribe

subscribe(name="analytics.live", types=["usage.batch_ingested"], handler=on_batch)
subscribe(name="analytics.live_access", types=["member.removed"], handler=on_member_removed)
