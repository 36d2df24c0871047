"""Months of rollups of several organisations, for measuring pages: what the drain would have folded, without events.

``make bench ARGS="seed --data-dir DIR"`` fills the database of a running instance. People work on most days of the
week, in some quarter-hours of their day, with a few models and tools each. All sums agree: minutes, quarters and days
are cuts of the same numbers. The first person of each organisation is its owner, who can sign in.
"""

import argparse
import json
import os
import time
from typing import Any

__all__ = ["PASSWORD", "seed"]

PASSWORD = "seeded-by-the-bench"

_WHATS = """
INSERT INTO usage_what (event_type, model, service_tier, batch, geo, speed, context_band, mcp_server, mcp_tool, source,
    status)
SELECT 'api_call', model, '', false, '', '', '', '', '', source, status
FROM unnest(ARRAY['claude-opus-4-8', 'claude-sonnet-5', 'claude-haiku-4-5', 'claude-opus-4-7', 'claude-sonnet-4-6'])
    AS model, unnest(ARRAY['claude_code', 'sdk']) AS source, unnest(ARRAY['ok', 'error']) AS status
UNION ALL
SELECT 'mcp_tool', '', '', false, '', '', '', server, tool, 'claude_code', 'ok'
FROM unnest(ARRAY['github', 'postgres', 'files', 'jira']) AS server,
    unnest(ARRAY['read', 'write', 'search']) AS tool
ON CONFLICT DO NOTHING
"""
_ORG = "INSERT INTO usage_org (org_id, salt, timezone) VALUES (%s, %s, 'UTC') RETURNING id"
# Two projects each, one of them seldom; the team is none.
_WHOS = """
INSERT INTO usage_who (org, project_id, person_id, key_id)
SELECT %(org)s, (%(projects)s::uuid[])[1 + (hashint4(n::int + turn * 7) & 3)], person, (%(keys)s::uuid[])[1 + turn]
FROM unnest(%(people)s::uuid[]) WITH ORDINALITY AS p (person, n), generate_series(0, 1) AS turn
ON CONFLICT DO NOTHING
"""
# A person's habit is their number: which of the models and tools, how often, in which hours.
_QUARTERS = """
INSERT INTO usage_rollup_quarter (bucket, org, who, what, events, input_tokens, output_tokens, cache_read_tokens,
    cache_write_5m_tokens, cache_write_1h_tokens, web_searches, cost_nano, reported_nano, unpriced, latency_count,
    latency_ms, latency_hist)
SELECT bucket, %(org)s, who, what, events, events * 900, events * 350, events * 21000, events * 1400, 0, 0,
    events * (CASE WHEN called THEN 9000000 + what * 1371 ELSE 0 END)::bigint, 0, 0, events, events * latency::bigint,
    set_byte(set_byte(set_byte('\\x00000000'::bytea, 0, hist & 255), 1, hist >> 8), 2, least(events, 255))
FROM (
    SELECT d.day + make_interval(mins => 15 * ((32 + (random() * 44))::int)) AS bucket, w.id AS who, t.id AS what,
        t.event_type = 'api_call' AS called,
        (%(share)s * (0.4 + 1.2 * random()) * CASE WHEN t.status = 'error' THEN 0.1 ELSE 1 END)::int + 1 AS events,
        300 + (random() * 4000)::int AS latency, 300 + (random() * 120)::int AS hist
    FROM usage_who w
    CROSS JOIN generate_series(%(first)s::timestamp, %(last)s::timestamp, '1 day') AS d (day)
    CROSS JOIN generate_series(1, %(turns)s) AS turn
    JOIN usage_what t ON (hashint4(w.id * 31 + t.id) & 7) < CASE WHEN t.status = 'error' THEN 1 ELSE 3 END
    WHERE w.org = %(org)s AND extract(isodow FROM d.day) < 6 + (w.id & 1) AND random() < 0.55
) AS made
"""
_SUMS = (
    "sum(events), sum(input_tokens), sum(output_tokens), sum(cache_read_tokens), sum(cache_write_5m_tokens),"
    " sum(cache_write_1h_tokens), sum(web_searches), sum(cost_nano), sum(reported_nano), sum(unpriced),"
    " sum(latency_count), sum(latency_ms), string_agg(latency_hist, ''::bytea)"
)
_DAYS = f"""
INSERT INTO usage_rollup_day SELECT (bucket AT TIME ZONE 'UTC')::date, org, who, what, {_SUMS}
FROM usage_rollup_quarter WHERE org = %(org)s GROUP BY 1, org, who, what
"""
_BY_WHAT = f"""
INSERT INTO usage_rollup_day_what SELECT day, org, what, {_SUMS}
FROM usage_rollup_day WHERE org = %(org)s GROUP BY day, org, what
"""
_BY_WHO = f"""
INSERT INTO usage_rollup_day_who SELECT day, org, who, event_type, status, {_SUMS}
FROM usage_rollup_day d JOIN usage_what t ON t.id = d.what WHERE org = %(org)s
GROUP BY day, org, who, event_type, status
"""
_MINUTES = """
INSERT INTO usage_rollup_minute SELECT * FROM usage_rollup_quarter
WHERE org = %(org)s AND bucket >= now() - interval '34 days'
"""
# One session for each person and active quarter-hour of the day table's making.
_SESSIONS = """
INSERT INTO usage_session (id, org, session_id, who, models, started_at, last_at, events, calls, tool_calls, errors,
    input_tokens, output_tokens, cache_read_tokens, cache_write_tokens, cost_nano)
SELECT row_number() OVER (), %(org)s, gen_random_uuid()::text, who, ARRAY['claude-sonnet-5'], min(bucket),
    max(bucket) + interval '9 minutes', sum(events), sum(events), 0, 0, sum(input_tokens), sum(output_tokens),
    sum(cache_read_tokens), sum(cache_write_5m_tokens), sum(cost_nano)
FROM usage_rollup_quarter WHERE org = %(org)s GROUP BY who, bucket::date
"""


def seed(*, orgs: int, people: int, days: int, events: int) -> dict[str, Any]:
    """Make it; returns who may sign in, the organisation's slug, and how much there is."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "mindweave.settings")
    import django

    django.setup()
    from django.db import connection, transaction

    made = _accounts(orgs, people)
    # About 4.2 rows are made for each person, day and turn.
    turns = 2
    share = max(0.5, events / (orgs * people * days * 5.2 * turns) - 1)
    with connection.cursor() as cursor:
        cursor.execute("SELECT setseed(0.42)")
        cursor.execute(_WHATS)
        for org in made:
            with transaction.atomic():
                cursor.execute(_ORG, [org["id"], os.urandom(16)])
                params = {**org, "org": cursor.fetchone()[0], "share": share, "turns": turns}
                cursor.execute("SELECT current_date - %s, current_date", [days])
                params["first"], params["last"] = cursor.fetchone()
                for sql in (_WHOS, _QUARTERS, _DAYS, _BY_WHAT, _BY_WHO, _MINUTES, _SESSIONS):
                    cursor.execute(sql, params)
        cursor.execute("VACUUM ANALYZE usage_rollup_day, usage_rollup_day_what, usage_rollup_day_who")
        cursor.execute("VACUUM ANALYZE usage_rollup_quarter, usage_rollup_minute, usage_session")
        cursor.execute("ANALYZE usage_who, usage_what")
        rows = {}
        for table in ("quarter", "day", "minute"):
            cursor.execute(f"SELECT count(*), sum(events) FROM usage_rollup_{table}")
            rows[table] = [int(value) for value in cursor.fetchone()]
    first = made[0]
    return {"email": first["email"], "password": PASSWORD, "slug": first["slug"], "org_id": first["id"], "rows": rows}


def _accounts(orgs: int, people: int) -> list[dict[str, Any]]:
    """Organisations with members, four projects and two keys each; the first member of each is its owner."""
    from django.contrib.auth import get_user_model
    from django.db import transaction
    from django.utils import timezone

    from apps.accounts.models import Membership, Organization
    from apps.core.crypto import pepper_id, token_digest
    from apps.core.tenancy import system_scope
    from apps.projects.models import ApiKey, Project
    from apps.projects.selectors import KEY_PURPOSE
    from apps.projects.tokens import display_prefix, new_key

    user_model = get_user_model()
    made = []
    with system_scope("a benchmark makes its organisations"), transaction.atomic():
        for number in range(orgs):
            org = Organization.objects.create(name=f"Seeded {number}", slug=f"seeded-{number}")
            users = [user_model(email=f"p{j}@o{number}.seed.invalid", name=f"Person {j}") for j in range(people)]
            users[0].set_password(PASSWORD)
            users[0].email_verified_at = timezone.now()
            user_model.objects.bulk_create(users)
            Membership.objects.bulk_create(
                Membership(org=org, user=user, role="developer" if j else "owner") for j, user in enumerate(users)
            )
            projects = Project.objects.bulk_create(
                Project(org=org, name=f"Project {letter.upper()}", slug=f"project-{letter}") for letter in "abcd"
            )
            tokens = [new_key(), new_key()]
            keys = ApiKey.objects.bulk_create(
                ApiKey(
                    org=org, project=projects[0], name="bench", prefix=display_prefix(token),
                    digest=token_digest(token, KEY_PURPOSE), pepper=pepper_id(), scopes=["ingest", "read"],
                    rate_limit_per_minute=0,
                )
                for token in tokens
            )  # fmt: skip
            made.append({
                "id": str(org.pk), "slug": org.slug, "email": users[0].email, "people": [user.pk for user in users],
                "projects": [project.pk for project in projects], "keys": [key.pk for key in keys],
            })  # fmt: skip
    return made


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", required=True, help="data directory of the running instance")
    parser.add_argument("--orgs", type=int, default=20)
    parser.add_argument("--people", type=int, default=200)
    parser.add_argument("--days", type=int, default=90)
    parser.add_argument("--events", type=int, default=50_000_000)
    options = parser.parse_args()
    os.environ["MINDWEAVE_DATA_DIR"] = options.data_dir
    from apps.core.dev.environment import enter

    enter()
    began = time.perf_counter()
    facts = seed(orgs=options.orgs, people=options.people, days=options.days, events=options.events)
    print(json.dumps(facts | {"seconds": round(time.perf_counter() - began, 1)}))


if __name__ == "__main__":
    main()
