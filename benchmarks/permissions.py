"""What a permission check costs: a request that reads one project, by whoever may in three ways, and the check alone.

Through the front, one request after the other, then twenty in flight (:mod:`benchmarks.callers`); and in one process
without HTTP. The specification's budget for who somebody is and what they may do is 50 ms at p95 (section 2.1).
"""

import argparse
import json
import os
import time
from collections.abc import Callable
from uuid import UUID

from benchmarks.callers import IN_FLIGHT, in_flight, request_of
from benchmarks.routes import Caller

__all__: list[str] = []

PASSWORD = "only for measuring 4711"
CHECKS = 2000


def _people(org_id: UUID, project_id: UUID) -> list[tuple[str, str, UUID]]:
    """Three people who may read the project, each in a way of their own: the way, their address, their id."""
    from apps.accounts import services as accounts
    from apps.identity import services as identity
    from apps.projects.services import give_project_access

    own = accounts.create_role(org_id=org_id, name="Measured", capabilities=["project.read", "usage.read"])
    bare = accounts.create_role(org_id=org_id, name="Measured without", capabilities=["usage.read"])
    made = []
    for way, role in (("a built-in role", "viewer"), ("an own role", own.key), ("a right on the project", bare.key)):
        person = identity.register(email=f"{role}@measured.test", password=PASSWORD, name=way, email_verified=True)
        accounts.add_member(org_id=org_id, user_id=person.id, role=role)
        if role == bare.key:
            give_project_access(
                org_id=org_id, project_id=project_id, grantee_id=person.id, capabilities=["project.read"]
            )
        made.append((way, person.email, person.id))
    return made


def _signed_in(url: str, email: str) -> dict[str, str]:
    body = json.dumps({"email": email, "password": PASSWORD}).encode()
    status, answer, _ = Caller(url, {"Content-Type": "application/json"})("POST", "/auth/login", body)
    assert status == 200, answer
    return {"Authorization": f"Bearer {json.loads(answer)['access_token']}"}


def _alone(check: Callable[[], object]) -> list[float]:
    found = []
    for _ in range(CHECKS):
        began = time.perf_counter()
        check()
        found.append((time.perf_counter() - began) * 1000)
    return found


def _at(times: list[float], percent: int) -> float:
    ordered = sorted(times)
    return ordered[min(len(ordered) - 1, len(ordered) * percent // 100)]


def main() -> None:
    """Print a row for each way in which somebody may."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("--url", "--data-dir", "--org", "--project"):
        parser.add_argument(name, required=True)
    options = parser.parse_args()
    os.environ["MINDWEAVE_DATA_DIR"] = options.data_dir
    from apps.core.dev.environment import enter

    enter()
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "mindweave.settings")
    import django

    django.setup()
    from apps.projects.permissions import may

    org_id, project_id = UUID(options.org), UUID(options.project)
    print(f"{'GET /projects/{project} by':28} {'alone p50':>9} {'p95':>7} {'20 at once p50':>15} {'p95':>7}", end="")
    print(f" {'check p50':>10} {'p95':>7}  ms")
    for way, email, user_id in _people(org_id, project_id):
        asked = request_of(options.url, "GET", f"/projects/{project_id}", _signed_in(options.url, email))
        alone, together = in_flight(options.url, [asked]), in_flight(options.url, [asked] * IN_FLIGHT)
        bare = _alone(
            lambda who=user_id: may(org_id=org_id, user_id=who, capability="project.read", project_id=project_id)  # type: ignore[misc]
        )
        print(
            f"{way:28} {alone.at(50):9.1f} {alone.at(95):7.1f} {together.at(50):15.1f} {together.at(95):7.1f}"
            f" {_at(bare, 50):10.2f} {_at(bare, 95):7.2f}"
        )


if __name__ == "__main__":
    main()
