"""Imports in Chromium: files dropped and sent, followed to their end; light, dark and narrow."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Open, Visit, at_home

pytestmark = [pytest.mark.chromium, pytest.mark.processes]

# What a browser does with files of these names and contents that are let go over the form; the contents may be so many
# times a text.
DROP = """files => {
  const held = new DataTransfer();
  for (const [name, content, times] of files) held.items.add(new File([content.repeat(times ?? 1)], name));
  const over = document.querySelector("[data-drop]");
  for (const name of ["dragenter", "dragover", "drop"])
    over.dispatchEvent(new DragEvent(name, {dataTransfer: held, bubbles: true, cancelable: true}));
}"""


def lines(*, right: int = 2, wrong: int = 0) -> str:
    sent = [
        {
            "event_id": str(uuid4()), "timestamp": datetime.now(UTC).isoformat(), "event_type": "api_call",
            "model": "claude-haiku-4-5", "input_tokens": 412, "output_tokens": 64,
        }
        for _ in range(right)
    ]  # fmt: skip
    return "\n".join(json.dumps(one) for one in [*sent, *({"bad": 1} for _ in range(wrong))])


def reads_well(one: Visit, name: str) -> None:
    assert one.overflow() <= 0
    assert one.axe() == []
    one.keep(name)


def sent(page: Page, name: str) -> Any:
    """What the form says of a file."""
    return page.locator("[data-sent] li", has_text=name)


@pytest.mark.parametrize(("theme", "width"), [("light", 1440), ("dark", 375)])
def test_files_are_sent_and_followed(visit: Open, signed_in: Any, tmp_path: Path, theme: str, width: int) -> None:
    one, org = at_home(visit, signed_in, theme=theme, width=width)
    page = one.page
    one.go(f"{org}imports")
    names = [f"{theme}-{width}-{number}.jsonl" for number in range(2)]
    for number, name in enumerate(names):
        (tmp_path / name).write_text(lines(wrong=60 * number))
    page.get_by_label("Project").select_option(index=1)
    page.get_by_label("Choose a file").set_input_files([tmp_path / name for name in names])
    page.get_by_role("button", name="Import", exact=True).click()
    # The list comes anew by itself, and says when each is counted.
    row = page.locator("#imports tbody tr", has_text=names[1])
    expect(row.get_by_text("Imported")).to_be_visible(timeout=60_000)
    expect(sent(page, names[0])).to_contain_text("sent")
    reads_well(one, f"imports-sent-{theme}-{width}")
    row.get_by_role("link", name=names[1]).click()
    expect(page.get_by_text("'bad' is not a field of an event").first).to_be_visible()
    reads_well(one, f"import-{theme}-{width}")
    page.get_by_role("link", name="Later lines").click()
    expect(page.locator("#refused tbody tr")).to_have_count(10)
    assert one.overflow() <= 0


def test_files_are_dropped_and_each_is_told_what_became_of_it(visit: Open, signed_in: Any) -> None:
    one, org = at_home(visit, signed_in)
    page = one.page
    one.go(f"{org}imports")
    dropped = [["dropped.jsonl", lines()], ["large.jsonl", "x" * 5_000], ["also.csv", "timestamp,event_type,nothing\n"]]
    page.evaluate(DROP, dropped)
    # Whose usage it is must be said first: it cannot be taken back.
    expect(page.get_by_label("Project")).to_be_focused()
    expect(page.locator("[data-sent] li")).to_have_count(0)
    page.get_by_label("Project").select_option(index=1)
    page.locator("[data-upload]").evaluate("form => form.dataset.most = 4000")
    page.evaluate(DROP, dropped)
    expect(sent(page, "large.jsonl")).to_contain_text("A file may have at most")
    expect(sent(page, "dropped.jsonl").get_by_role("link")).to_be_visible()
    expect(sent(page, "also.csv").get_by_role("link")).to_be_visible()
    expect(page.locator("[data-said]")).to_have_text("also.csv is sent.")
    row = page.locator("#imports tbody tr", has_text="also.csv")
    expect(row.get_by_text("Failed")).to_be_visible(timeout=60_000)
    row.get_by_role("link", name="also.csv").click()
    expect(page.get_by_role("alert")).to_contain_text("nothing")
    expect(page.get_by_role("alert")).to_contain_text("Going on would end in the same")
    expect(page.get_by_role("button", name="Go on")).to_have_count(0)
    reads_well(one, "import-failed")


def test_one_is_followed_and_cancelled_by_the_keyboard(visit: Open, signed_in: Any) -> None:
    one, org = at_home(visit, signed_in)
    page = one.page
    one.go(f"{org}imports")
    page.get_by_label("Project").select_option(index=1)
    # So large that it is under way for a while.
    page.evaluate(DROP, [["long.jsonl", '{"bad": 1}\n', 2_000_000]])
    page.locator("[data-sent] a", has_text="long.jsonl").click()
    page.wait_for_url("**/imports/*-*")
    cancel = page.get_by_role("button", name="Cancel… long.jsonl")
    cancel.focus()
    with page.expect_response(lambda answer: answer.request.headers.get("hx-request") == "true"):
        pass
    # What is under way is shown anew under the hands of who is about to press it.
    expect(cancel).to_be_focused()
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog", name="Cancel this import?")
    expect(dialog).to_be_visible()
    reads_well(one, "import-cancel")
    # It stays open while what is behind it is shown anew, and whoever keeps the import stands on the button again.
    with page.expect_response(lambda answer: answer.request.headers.get("hx-request") == "true"):
        pass
    dialog.get_by_role("button", name="Keep it").click()
    expect(dialog).to_be_hidden()
    expect(cancel).to_be_focused()
    page.keyboard.press("Enter")
    dialog.get_by_role("button", name="Cancel the import").press("Enter")
    expect(page.locator("#import").get_by_text("Cancelled")).to_be_visible()


def test_without_scripts_the_form_sends_one(visit: Open, signed_in: Any, tmp_path: Path) -> None:
    one, org = at_home(visit, signed_in, scripts=False)
    page = one.page
    one.go(f"{org}imports")
    (tmp_path / "plain.jsonl").write_text(lines())
    page.get_by_label("Project").select_option(index=1)
    page.get_by_label("Choose a file").set_input_files(tmp_path / "plain.jsonl")
    page.get_by_role("button", name="Import", exact=True).click()
    expect(page.get_by_role("heading", name="plain.jsonl")).to_be_visible()
