"""What each page of an organisation costs on months of rollups: cold (nothing remembered), then warm.

Server time is what one keep-alive caller waits for through the front; bodies are asked for compressed, as browsers do.
Cold is the first answer after the cache was emptied, the median of five.
"""

import os
import time
from typing import Any

from benchmarks.routes import Caller, sign_in

__all__ = ["measure_pages"]

PAGES = (
    "", "?period=90d", "usage", "usage?period=90d&by=user&metric=tokens", "usage?period=90d&by=project&grain=week",
    "usage?view=heat&metric=calls",
    "costs", "costs?period=90d", "sessions", "events", "projects", "settings/members", "settings/tags",
    "settings/prices", "connect",
)  # fmt: skip
COLD, WARM = 5, 60


def measure_pages(url: str, facts: dict[str, Any], only: str = "") -> None:
    """Print a row for each page: cold and warm times in ms, size as sent in kB."""
    cookie = sign_in(url, facts)
    print(f"{'page':48} {'cold':>7} {'p50':>7} {'p95':>7}  ms {'sent':>6} kB")
    for page in PAGES:
        if only and only not in f"/{page}":
            continue
        path = f"/o/{facts['slug']}/{page}"
        caller = Caller(url, {**cookie, "Accept": "text/html", "Accept-Encoding": "gzip"})
        cold = sorted(_timed(caller, path, fresh=True)[0] for _ in range(COLD))
        warm, size = [], 0
        for _ in range(WARM):
            took, size = _timed(caller, path)
            warm.append(took)
        warm.sort()
        print(
            f"/{page:47} {cold[COLD // 2]:7.1f} {warm[WARM // 2]:7.1f} {warm[WARM * 95 // 100]:7.1f}     "
            f"{size / 1000:6.1f}",
            flush=True,
        )


def _timed(caller: Caller, path: str, *, fresh: bool = False) -> tuple[float, int]:
    if fresh:
        _forget()
    began = time.perf_counter()
    status, body, _ = caller("GET", path)
    took = (time.perf_counter() - began) * 1000
    if status != 200:
        raise RuntimeError(f"{path}: {status} {body[:300]!r}")
    return took, len(body)


def _forget() -> None:
    """Empty the cache of the instance, which the environment names; sessions are in the database."""
    import redis

    from mindweave import settings

    redis.Redis.from_url(str(settings.CACHES["default"]["LOCATION"])).flushdb()


def main() -> None:
    import argparse

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", required=True)
    parser.add_argument("--data-dir", required=True)
    parser.add_argument("--email", required=True)
    parser.add_argument("--password", required=True)
    parser.add_argument("--slug", required=True)
    parser.add_argument("--only", default="", help="pages whose address contains this")
    options = parser.parse_args()
    os.environ["MINDWEAVE_DATA_DIR"] = options.data_dir
    from apps.core.dev.environment import enter

    enter()
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "mindweave.settings")
    import django

    django.setup()
    measure_pages(options.url, vars(options), options.only)


if __name__ == "__main__":
    main()
