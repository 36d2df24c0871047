"""The whole product, started as people start it, and a Chromium that complains about everything."""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from tests.chromium import launch

BASE = Path(__file__).parents[2]
AXE = Path(__file__).parent / "vendor/axe.min.js"
ARTIFACTS = Path(__file__).parent / "artifacts"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """One process of the suite takes all of these: each would start the product and a browser of its own."""
    for item in items:
        if item.path.parent == Path(__file__).parent:
            item.add_marker(pytest.mark.xdist_group("browser"))


@dataclass(frozen=True)
class Product:
    """A running MindWeave with its demo organisation."""

    url: str
    email: str
    password: str
    org_id: str
    project_id: str
    api_key: str
    home: str

    def send(self, key: str, **fields: Any) -> int:
        """One event, as any client sends it."""
        from datetime import UTC, datetime
        from uuid import uuid4

        event = {
            "event_id": str(uuid4()), "timestamp": datetime.now(UTC).isoformat(), "event_type": "api_call",
            "model": "claude-haiku-4-5", "input_tokens": 412, "output_tokens": 64, "latency_ms": 830, **fields,
        }  # fmt: skip
        request = Request(
            f"{self.url}/v1/track",
            json.dumps(event).encode(),
            {"Authorization": f"Bearer {key}", "Content-Type": "application/json"},
        )
        with urlopen(request, timeout=20) as answer:
            return int(answer.status)


@contextmanager
def running() -> Iterator[Product]:
    """The product on a free port and in a folder of its own, until the context ends."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    home = tempfile.mkdtemp(prefix="mwb-")
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("MINDWEAVE_", "DATABASE_", "REDIS_", "DJANGO_", "DEMO", "SECRET_KEY"))
    } | {"MINDWEAVE_DATA_DIR": home, "MINDWEAVE_PORT": str(port), "PYTHONUNBUFFERED": "1"}  # fmt: skip
    process = subprocess.Popen(
        [sys.executable, "manage.py", "up", "--json"],
        cwd=BASE, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            process.wait(20)
            raise AssertionError(f"the product did not start: {process.stderr.read() if process.stderr else ''}")
        facts = json.loads(line) | {"home": home}
        yield Product(**{name: facts[name] for name in Product.__dataclass_fields__})
    finally:
        process.terminate()
        try:
            process.wait(20)
        finally:
            process.kill()
            shutil.rmtree(home, ignore_errors=True)


# For these tests alone: what comes after them needs neither the product, which is never quite idle, nor the browser's
# event loop, in which Django refuses to ask the database.
@pytest.fixture(scope="package")
def product() -> Iterator[Product]:
    with running() as found:
        yield found


@pytest.fixture(scope="package")
def chromium() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = launch(playwright)
        yield browser
        browser.close()


@dataclass
class Visit:
    """A window: its page, and whatever the page complained about."""

    page: Page
    context: BrowserContext
    url: str
    complaints: list[str] = field(default_factory=list)

    def go(self, path: str) -> None:
        self.page.goto(self.url + path)

    def axe(self) -> list[str]:
        """Serious and critical findings of axe, as sentences."""
        # Evaluated in the page's world over the debugging protocol, which the page's policy does not bind.
        self.page.evaluate(AXE.read_text())
        found = self.page.evaluate("axe.run(document, {resultTypes: ['violations']})")
        return [
            f"{violation['id']}: {violation['help']} ({node['target']}) {node['failureSummary']}"
            for violation in found["violations"]
            if violation["impact"] in {"serious", "critical"}
            for node in violation["nodes"]
        ]

    def overflow(self) -> int:
        """How far the page is wider than its window."""
        return int(self.page.evaluate("document.documentElement.scrollWidth - innerWidth"))

    def keep(self, name: str) -> None:
        """A screenshot to be looked at; none where nobody does."""
        if os.environ.get("CI"):
            return
        ARTIFACTS.mkdir(exist_ok=True)
        self.page.screenshot(path=ARTIFACTS / f"{name}.png", full_page=True)


Open = Callable[..., Visit]


_homes: dict[str, str] = {}


def at_home(visit: Open, state: Any, **options: Any) -> tuple[Visit, str]:
    """A window of the demo's owner, in which a page may be open or none yet, and the path of their organisation."""
    one = visit(state=state, **options)
    if one.url not in _homes:
        one.go("/")
        _homes[one.url] = re.sub(r"^https?://[^/]+", "", one.page.url)
    return one, _homes[one.url]


@pytest.fixture
def visit(product: Product, chromium: Browser) -> Iterator[Open]:
    """Opens windows: ``visit(width=375, theme="dark")``; each must end without a complaint."""
    opened: list[Visit] = []

    def open_(*, width: int = 1440, theme: str = "light", scripts: bool = True, state: Any = None) -> Visit:
        context = chromium.new_context(
            viewport={"width": width, "height": 900}, color_scheme=theme, java_script_enabled=scripts,
            storage_state=state, reduced_motion="reduce",
        )  # fmt: skip
        page = context.new_page()
        one = Visit(page, context, product.url)
        page.on("console", lambda message: one.complaints.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: one.complaints.append(str(error)))
        page.on("requestfailed", lambda request: one.complaints.append(f"{request.url}: {request.failure}")
                if "ERR_ABORTED" not in (request.failure or "") else None)  # fmt: skip
        opened.append(one)
        return one

    yield open_
    complaints = [complaint for one in opened for complaint in one.complaints]
    for one in opened:
        one.context.close()
    assert complaints == []


@pytest.fixture(scope="package")
def signed_in(product: Product, chromium: Browser) -> Any:
    """The cookies of the demo's owner."""
    context = chromium.new_context()
    page = context.new_page()
    page.goto(f"{product.url}/login")
    page.get_by_label("E-mail address").fill(product.email)
    page.get_by_label("Password").fill(product.password)
    page.get_by_role("button", name="Sign in", exact=True).click()
    page.wait_for_url("**/o/**")
    state = context.storage_state()
    context.close()
    return state
