"""Organisations with members and keys, made straight in the database of the instance under test."""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from uuid import UUID, uuid4

from benchmarks.ingest_load import Account

__all__ = ["for_searches", "make_accounts", "read_accounts", "write_accounts"]

# What is searched is made of so many different batches, so that some people, models and outcomes meet rarely.
_BATCHES = 40


def make_accounts(count: int, people: int) -> list[Account]:
    """``count`` organisations of ``people`` members, each with a project and an unlimited key that sends and reads."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "mindweave.settings")
    import django

    django.setup()
    from django.contrib.auth import get_user_model
    from django.db import transaction

    from apps.accounts.models import Membership, Organization
    from apps.core.crypto import token_digest
    from apps.core.tenancy import system_scope
    from apps.projects.models import ApiKey, Project
    from apps.projects.selectors import KEY_PURPOSE
    from apps.projects.tokens import display_prefix, new_key

    user_model = get_user_model()
    tag = uuid4().hex[:8]
    with system_scope("a benchmark makes its organisations"), transaction.atomic():
        orgs = [Organization(name=f"Bench {tag} {i}", slug=f"bench-{tag}-{i}") for i in range(count)]
        Organization.objects.bulk_create(orgs)
        users = [
            user_model(email=f"p{j}@o{i}.{tag}.bench.invalid", name=f"Person {j}")
            for i in range(count)
            for j in range(people)
        ]
        user_model.objects.bulk_create(users, batch_size=2000)
        Membership.objects.bulk_create(
            [Membership(org=orgs[n // people], user=user, role="developer") for n, user in enumerate(users)],
            batch_size=2000,
        )
        projects = [Project(org=org, name="Bench", slug="bench") for org in orgs]
        Project.objects.bulk_create(projects)
        tokens = [new_key() for _ in orgs]
        ApiKey.objects.bulk_create(
            ApiKey(
                org=org, project=project, name="bench", prefix=display_prefix(token),
                digest=token_digest(token, KEY_PURPOSE), scopes=["ingest", "read"], rate_limit_per_minute=0,
            )
            for org, project, token in zip(orgs, projects, tokens, strict=True)
        )  # fmt: skip
    return [
        Account(token, org.pk, project.pk, tuple(user.pk for user in users[i * people : (i + 1) * people]))
        for i, (token, org, project) in enumerate(zip(tokens, orgs, projects, strict=True))
    ]


def for_searches(account: Account) -> list[Account]:
    """The account, for each of many different batches, one of which is another project's of its organisation.

    That project is a team's. Events are counted by their department from now on.
    """
    from apps.core.crypto import token_digest
    from apps.core.tenancy import system_scope
    from apps.projects.models import ApiKey, Project
    from apps.projects.selectors import KEY_PURPOSE
    from apps.projects.tokens import display_prefix, new_key
    from apps.teams.models import Team
    from apps.usage.services import register_tag_key

    token = new_key()
    with system_scope("a benchmark makes a project"):
        team = Team.objects.create(org_id=account.org_id, name="Beside", slug="beside")
        project = Project.objects.create(org_id=account.org_id, name="Beside", slug="beside", team=team)
        ApiKey.objects.create(
            org_id=account.org_id, project=project, name="beside", prefix=display_prefix(token),
            digest=token_digest(token, KEY_PURPOSE), scopes=["ingest", "read"], rate_limit_per_minute=0,
        )  # fmt: skip
    register_tag_key(org_id=account.org_id, key="department")
    beside = Account(token, account.org_id, project.pk, account.users)
    return [*[account] * (_BATCHES - 1), beside]


def write_accounts(path: Path, accounts: Sequence[Account]) -> None:
    """Write the first and the last, which is all that searching them needs."""
    path.write_text(
        json.dumps(
            [
                {
                    "token": one.token,
                    "org": str(one.org_id),
                    "project": str(one.project_id),
                    "users": [*map(str, one.users)],
                }
                for one in (accounts[0], accounts[-1])
            ]
        )
    )


def read_accounts(path: Path) -> list[Account]:
    return [
        Account(one["token"], UUID(one["org"]), UUID(one["project"]), tuple(map(UUID, one["users"])))
        for one in json.loads(path.read_text())
    ]
