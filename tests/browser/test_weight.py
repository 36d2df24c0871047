"""What a first visit loads, and that nothing moves while it does."""

from typing import Any

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import Open, at_home

pytestmark = [pytest.mark.chromium, pytest.mark.processes]

# Kilobytes over the wire, compressed as the front sends them: pages with charts, and those without.
WITH_CHARTS, WITHOUT = 450, 200
PAGES = [
    ("", WITH_CHARTS), ("usage", WITH_CHARTS), ("costs", WITH_CHARTS), ("sessions", WITHOUT), ("events", WITHOUT),
    ("projects", WITHOUT), ("settings/members", WITHOUT), ("connect", WITHOUT),
]  # fmt: skip
_WATCH = """
window.moved = 0;
new MutationObserver((_, observer) => {
  if (!document.getElementById("end")) return;
  window.whole = performance.now();
  observer.disconnect();
}).observe(document, { childList: true, subtree: true });
new PerformanceObserver((list) => {
  for (const entry of list.getEntries()) if (!entry.hadRecentInput) window.moved += entry.value;
}).observe({ type: "layout-shift", buffered: true });
"""
_SENT = """
[...performance.getEntriesByType("navigation"), ...performance.getEntriesByType("resource")]
  .reduce((sum, entry) => sum + entry.transferSize, 0)
"""
_PAINTED_WHOLE = """
new Promise((done) => {
  let frames = 300;
  const look = () => {
    const [paint] = performance.getEntriesByName("first-paint");
    if (paint || !frames--) done(paint && paint.startTime >= window.whole);
    else requestAnimationFrame(look);
  };
  look();
})
"""


@pytest.mark.parametrize("width", [1440, 375])
@pytest.mark.parametrize(("path", "limit"), PAGES)
def test_a_first_visit_is_light_and_stands_still(
    visit: Open, signed_in: Any, path: str, limit: int, width: int
) -> None:
    _, org = at_home(visit, signed_in)
    one = visit(state=signed_in, width=width)
    one.page.add_init_script(_WATCH)
    one.go(org + path)
    one.page.wait_for_load_state("networkidle")
    charts = one.page.locator("[data-chart]").count()
    expect(one.page.locator("[data-chart][data-drawn]")).to_have_count(charts)
    assert one.page.evaluate(_SENT) / 1000 < limit
    assert one.page.evaluate(_PAINTED_WHOLE)
    # 0.1 is what is called good (web.dev, Cumulative Layout Shift); a chart or a font that moves a panel is more.
    assert one.page.evaluate("window.moved") < 0.02
