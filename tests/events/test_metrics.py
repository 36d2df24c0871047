import re

from apps.core.metrics import exposition


def figures() -> dict[str, float]:
    text = exposition("mindweave_bus").decode()
    return {name: float(value) for name, value in re.findall(r"^(mindweave_\S+) (\S+)$", text, re.MULTILINE)}


def test_the_figures_tell_what_waits_and_what_was_given_up(bus, org) -> None:
    def handler(event) -> None:
        if event.data["n"]:
            raise RuntimeError

    bus.subscribe(handler, max_attempts=2)
    bus.publish(1, org_id=org)
    before = figures()
    assert before["mindweave_bus_outbox_waiting"] == 1
    assert 0 <= before["mindweave_bus_outbox_age_seconds"] < 60

    bus.publish(2, org_id=org)
    bus.deliver()
    after = figures()
    assert after["mindweave_bus_outbox_waiting"] == 0
    assert after['mindweave_bus_backlog{state="retrying",subscription="test.listener"}'] == 1
    assert after['mindweave_bus_backlog{state="parked",subscription="test.listener"}'] == 1
    assert 'mindweave_bus_dead_letters{subscription="test.listener"}' not in after


def test_the_counters_count(bus, org) -> None:
    def value(name: str) -> float:
        return figures().get(name, 0)

    bus.subscribe(lambda event: None)
    names = ['mindweave_bus_published_total{topic="audit.log"}', "mindweave_bus_relayed_total"]
    names.append('mindweave_bus_delivered_total{subscription="test.listener"}')
    before = [value(name) for name in names]
    for n in range(3):
        bus.publish(n, org_id=org)
    bus.deliver()
    assert [value(name) - old for name, old in zip(names, before, strict=True)] == [3, 3, 3]
