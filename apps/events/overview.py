"""The bus on the staff's overview: what waits, what keeps failing, what was given up."""

from django.db import connection

from apps.core.overview import Figure, Panel, register_panel
from apps.core.web.figures import count, duration

__all__: list[str] = []

# An outbox that nobody empties for so long has no dispatcher.
_LATE_SECONDS = 30.0


def _bus() -> Panel:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*), coalesce(extract(epoch FROM now() - min(published_at)), 0) FROM events_outbox"
            " WHERE NOT relayed"
        )
        outbox, age = cursor.fetchone()
        cursor.execute("SELECT state, count(*) FROM events_delivery GROUP BY 1")
        waiting = dict(cursor.fetchall())
        cursor.execute("SELECT subscription, count(*) FROM events_dead_letter WHERE status = 'open' GROUP BY 1")
        dead = cursor.fetchall()
        cursor.execute("SELECT name FROM events_subscription WHERE is_paused ORDER BY name")
        paused = [row[0] for row in cursor.fetchall()]
    problems = [f"{count(letters)} dead letters of {name} wait for a decision." for name, letters in dead]
    if float(age) > _LATE_SECONDS:
        problems.append(f"The oldest event is unread for {duration(float(age) * 1000)}: is the bus running?")
    problems += [f"The subscription {name} is paused." for name in paused]
    return Panel(
        [
            Figure("Outbox", count(outbox), "events that no dispatcher has taken"),
            Figure("Deliveries", count(sum(waiting.values())), f"{count(waiting.get('retrying', 0))} after a failure"),
            Figure("Dead letters", count(sum(letters for _, letters in dead)), "open"),
        ],
        problems,
    )


register_panel(
    key="events.bus", title="Bus", load=_bus, order=30,
    links=(("Dead letters", "events_deadletter"), ("Deliveries", "events_delivery"),
           ("Subscriptions", "events_subscriptionstate")),
)  # fmt: skip
