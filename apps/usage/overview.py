"""The usage engine on the staff's overview: what waits to be counted, and what was counted today."""

from apps.core.overview import Figure, Panel, register_panel
from apps.core.web.figures import count
from apps.usage.admin.watch import problems_of
from apps.usage.selectors.engine import day_counts, engine_state

__all__: list[str] = []


def _engine() -> Panel:
    state = engine_state()
    _, today = day_counts(top=1)
    a_second = round(sum(shard.events_per_second for shard in state.shards))
    return Panel(
        [
            Figure("Inbox", count(state.events), f"events waiting, the oldest for {state.lag_seconds:.1f} s"),
            Figure("Counted a second", count(a_second), f"{len(state.shards)} shards"),
            Figure("Counted today", count(today.events), f"{count(today.unpriced)} without a price"),
        ],
        problems_of(state),
    )


register_panel(
    key="usage.engine", title="Usage engine", load=_engine, order=20,
    links=(("Usage engine", "usage_shard"), ("Imports", "usage_import"), ("Repricings", "usage_reprice")),
)  # fmt: skip
