"""Static files: hashed and compressed once collected, plain before."""

import gzip
import json
from pathlib import Path

import pytest
from django.contrib.staticfiles.storage import staticfiles_storage
from django.core.management import call_command

from apps.core.web.storage import StaticStorage
from tests.web.conftest import Cast


def test_before_anything_is_collected_names_are_plain() -> None:
    assert staticfiles_storage.url("css/base.css") == "/static/css/base.css"


def test_collecting_gives_names_that_change_with_their_content(
    tmp_path: Path, settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.STATIC_ROOT = tmp_path
    settings.STATICFILES_FINDERS = ["django.contrib.staticfiles.finders.FileSystemFinder"]
    storage = StaticStorage(location=str(tmp_path))
    monkeypatch.setattr("django.contrib.staticfiles.management.commands.collectstatic.staticfiles_storage", storage)
    call_command("collectstatic", verbosity=0, interactive=False)
    names = json.loads((tmp_path / "staticfiles.json").read_text())["paths"]
    hashed = names["css/tokens.css"]
    assert hashed != "css/tokens.css"
    assert StaticStorage(location=str(tmp_path)).stored_name("css/tokens.css") == hashed
    # What a style sheet names is hashed too, and there is a compressed copy of it.
    assert names["vendor/inter-latin-opsz-normal.woff2"].split("/")[1] in (tmp_path / hashed).read_text()
    assert gzip.decompress((tmp_path / f"{hashed}.gz").read_bytes()) == (tmp_path / hashed).read_bytes()


def test_what_a_page_with_charts_loads_first_is_below_its_weight(tmp_path: Path) -> None:
    from django.conf import settings

    static = settings.BASE_DIR / "static"
    text = [*static.glob("css/*.css"), *static.glob("js/*.js"), static / "vendor/htmx.min.js"]
    fonts = [static / "vendor/inter-latin-opsz-normal.woff2"]
    plain = sum(len(gzip.compress(path.read_bytes(), 9)) for path in text) + sum(path.stat().st_size for path in fonts)
    charts = len(gzip.compress((static / "vendor/echarts.min.js").read_bytes(), 9))
    assert plain < 200_000
    assert plain + charts < 500_000


def test_pages_travel_compressed(cast: Cast) -> None:
    plain = cast.owner.get(cast.url("projects"))
    packed = cast.owner.get(cast.url("projects"), headers={"Accept-Encoding": "gzip"})
    assert packed.headers["Content-Encoding"] == "gzip"
    assert len(packed.content) < len(plain.content) / 2
