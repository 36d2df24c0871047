"""What authenticating an API key costs: in process, cold and warm, and over HTTP with 20 requests in flight.

Over HTTP the request is the smallest that a key can make and that touches nothing else: a batch of no events, refused
once the key was taken. In process it is ``key_authenticate`` itself, against the instance's database.
"""

import argparse
import asyncio
import os
import statistics
import time

import httpx

IN_FLIGHT = 20


def in_process(rounds: int) -> None:
    """Microseconds for each call: from the cache; from the database; and with rules and an address to look at."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "mindweave.settings")
    import django

    django.setup()
    from apps.core.tenancy import system_scope
    from apps.projects import selectors
    from apps.projects.models import ApiKey, ProjectSettings
    from benchmarks.accounts import make_accounts

    plain, ruled = make_accounts(2, 1)
    with system_scope("a benchmark sets its project up"):
        ApiKey.objects.filter(project_id=ruled.project_id).update(allowed_ips=["192.0.2.0/24", "2001:db8::/32"])
        ProjectSettings.objects.create(org_id=ruled.org_id, project_id=ruled.project_id, allowed_models=["claude-*"])
    for name, account in (("a key", plain), ("a key with settings and addresses", ruled)):
        cold = [_timed(lambda: selectors.forget_keys(), account.token) for _ in range(max(200, rounds // 50))]
        selectors.key_authenticate(account.token, ip="192.0.2.7")
        began = time.perf_counter()
        for _ in range(rounds):
            selectors.key_authenticate(account.token, ip="192.0.2.7")
        warm = (time.perf_counter() - began) / rounds * 1e6
        print(f"{name}: cold p50 {_at(cold, 50):.0f} µs, p95 {_at(cold, 95):.0f} µs; warm {warm:.2f} µs", flush=True)


def _timed(before: object, token: str) -> float:
    from apps.projects import selectors

    before()  # type: ignore[operator]
    began = time.perf_counter()
    selectors.key_authenticate(token, ip="192.0.2.7")
    return (time.perf_counter() - began) * 1e6


async def over_http(url: str, key: str, seconds: float) -> None:
    """Milliseconds of requests that a key authenticates, 20 in flight, and of ones that it does not."""
    limits = httpx.Limits(max_connections=IN_FLIGHT)
    async with httpx.AsyncClient(base_url=url, limits=limits, timeout=30) as client:
        for name, token, wanted in (
            ("a key that works", key, 400),
            ("a key that means nothing", "mw_" + "0" * 38, 401),
        ):
            took: list[float] = []
            end = time.perf_counter() + seconds

            async def work(token: str, wanted: int, end: float, took: list[float]) -> None:
                headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
                while time.perf_counter() < end:
                    began = time.perf_counter()
                    answer = await client.post("/v1/events", content=b'{"events": []}', headers=headers)
                    took.append((time.perf_counter() - began) * 1e3)
                    assert answer.status_code == wanted, answer.text

            await asyncio.gather(*(work(token, wanted, end, took) for _ in range(IN_FLIGHT)))
            print(
                f"{name}: p50 {_at(took, 50):.1f} ms, p95 {_at(took, 95):.1f} ms, {len(took) / seconds:,.0f} a second"
                f" ({IN_FLIGHT} in flight)", flush=True,
            )  # fmt: skip


def _at(values: list[float], percent: int) -> float:
    return statistics.quantiles(values, n=100)[percent - 1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", required=True)
    parser.add_argument("--data-dir", required=True, help="data directory of the running instance")
    parser.add_argument("--key", required=True, help="one without a rate limit")
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--rounds", type=int, default=100_000)
    options = parser.parse_args()
    asyncio.run(over_http(options.url, options.key, options.seconds))
    os.environ["MINDWEAVE_DATA_DIR"] = options.data_dir
    from apps.core.dev.environment import enter

    enter()
    in_process(options.rounds)


if __name__ == "__main__":
    main()
