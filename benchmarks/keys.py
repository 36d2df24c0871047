"""What authenticating an API key costs: in process, cold and warm, and over HTTP with 20 requests in flight.

Over HTTP the request is the smallest that a key can make and that touches nothing else: a batch of no events, refused
once the key was taken. In process it is ``key_authenticate`` itself, against the instance's database.
"""

import argparse
import os
import statistics
import time

from benchmarks.callers import IN_FLIGHT, in_flight, request_of


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


def over_http(url: str, key: str, seconds: float) -> None:
    """Milliseconds of requests that a key authenticates, alone and 20 in flight, and of ones that it does not."""
    for name, token, wanted in (("a key that works", key, 400), ("a key that means nothing", "mw_" + "0" * 38, 401)):
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        asked = request_of(url, "POST", "/v1/events", headers, b'{"events": []}')
        for words, requests in (("alone", [asked]), (f"{IN_FLIGHT} in flight", [asked] * IN_FLIGHT)):
            found = in_flight(url, requests, status=wanted, seconds=seconds)
            took = f"p50 {found.at(50):.1f} ms, p95 {found.at(95):.1f} ms, {found.a_second:,.0f} a second"
            print(f"{name}, {words}: {took}", flush=True)


def _at(values: list[float], percent: int) -> float:
    return statistics.quantiles(values, n=100)[percent - 1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", required=True)
    parser.add_argument("--data-dir", required=True, help="data directory of the running instance")
    parser.add_argument("--key", required=True, help="one without a rate limit")
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--rounds", type=int, default=100_000)
    options = parser.parse_args()
    over_http(options.url, options.key, options.seconds)
    os.environ["MINDWEAVE_DATA_DIR"] = options.data_dir
    from apps.core.dev.environment import enter

    enter()
    in_process(options.rounds)


if __name__ == "__main__":
    main()
