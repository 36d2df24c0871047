"""The whole way through a real OpenID Connect provider, oidc-provider from npm, by HTTP as a browser goes it."""

import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

import httpx
import pytest
from django.conf import settings as django_settings
from django.core.cache import cache
from django.test import Client

from apps.accounts.selectors import role_of
from apps.identity.selectors import user_by_email
from apps.sso import services
from tests.cast import Cast

HERE = Path(__file__).parent / "idp"
SECRET = "only for tests, and long enough for it"

pytestmark = [
    pytest.mark.node,
    pytest.mark.skipif(
        shutil.which("node") is not None and not (HERE / "node_modules" / "oidc-provider").exists(),
        reason="needs oidc-provider: npm ci in tests/sso/idp",
    ),
]


@pytest.fixture
def issuer(settings) -> Iterator[str]:
    settings.OUTBOUND_ALLOWED_HOSTS = ["127.0.0.1"]
    cache.clear()
    redirect = f"{django_settings.PUBLIC_URL}/sso/callback"
    process = subprocess.Popen(
        ["node", "server.mjs", redirect, SECRET], cwd=HERE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert process.stdout is not None
    lines = iter(process.stdout.readline, "")
    yield next(line.strip() for line in lines if line.startswith("http"))
    process.kill()
    process.wait()


def walk(url: str, who: str) -> str:
    """Sign in at the provider's own pages and agree; the address of ours that it leads back to."""
    with httpx.Client(trust_env=False) as browser:
        answer = browser.get(url)
        for _ in range(12):
            if answer.is_redirect:
                target = urljoin(str(answer.url), answer.headers["Location"])
                if urlsplit(target).path == "/sso/callback":
                    return target
                answer = browser.get(target)
                continue
            form = re.search(r'<form[^>]+action="([^"]+)"', answer.text)
            assert form, answer.text[:500]
            fields = dict(re.findall(r'<input type="hidden" name="(\w+)" value="(\w+)"', answer.text))
            if 'name="login"' in answer.text:
                fields |= {"login": who, "password": "any"}
            answer = browser.post(urljoin(str(answer.url), form[1]), data=fields)
    raise AssertionError("the provider led nowhere")


def test_somebody_signs_in_through_a_real_provider(issuer: str, cast: Cast, prove: Callable[..., Any]) -> None:
    prove(cast.org.id)
    services.add_mapping(org_id=cast.org.id, group="Looms", role="admin")
    made = services.create_connection(
        org_id=cast.org.id, kind="oidc", name="A real one",
        values={"issuer": issuer, "client_id": "weave", "client_secret": SECRET, "default_role": "viewer"},
    )  # fmt: skip
    services.enable_connection(org_id=cast.org.id, connection_id=made.id)
    client = Client()
    there = client.get(f"/sso/{made.id}/start?next=/o/{cast.org.slug}/usage")
    back = urlsplit(walk(there["Location"], "ada"))
    arrived = client.get(f"{back.path}?{back.query}")
    assert arrived.status_code == 302, arrived.content[:800]
    assert arrived["Location"] == f"/o/{cast.org.slug}/usage"
    person = user_by_email("ada@example.com")
    assert person is not None
    assert client.session["_auth_user_id"] == str(person.id)
    assert person.name == "Ada Lovelace"
    assert role_of(org_id=cast.org.id, user_id=person.id) == "admin"

    # The same code again, in the same browser: its state is used up, and the provider would not take the code either.
    client.logout()
    assert client.get(f"{back.path}?{back.query}").status_code == 403
    assert "_auth_user_id" not in client.session
