"""Snippets are what they say they are."""

import html
import json
import re

from apps.core.templatetags.mw import code_words
from apps.projects.snippets import snippets


def test_the_settings_of_claude_code_are_json_as_they_are_copied() -> None:
    found = {snippet.key: snippet for snippet in snippets(base_url="http://localhost:8000", token="mw_x")}
    text = html.unescape(re.sub(r"<[^>]+>", "", str(found["claude-code"].code)))
    env = json.loads(text)["env"]
    assert env["OTEL_EXPORTER_OTLP_ENDPOINT"] == "http://localhost:8000/otlp"
    assert env["OTEL_EXPORTER_OTLP_HEADERS"] == "Authorization=Bearer mw_x"


def test_words_between_backticks_are_code_and_nothing_is_markup() -> None:
    assert code_words("send `a<b` & go") == "send <code>a&lt;b</code> &amp; go"
    assert code_words("an odd ` one <b>") == "an odd ` one &lt;b&gt;"
