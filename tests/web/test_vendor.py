"""What others wrote lies here as they published it, with its licence."""

import hashlib
import re
import tomllib
from pathlib import Path

import pytest
from django.conf import settings

FOLDERS = [settings.BASE_DIR / "static/vendor", settings.BASE_DIR / "tests/browser/vendor"]
FILES = [(folder, entry) for folder in FOLDERS for entry in tomllib.loads((folder / "VENDOR.toml").read_text())["file"]]


@pytest.mark.parametrize(("folder", "entry"), FILES, ids=[entry["path"] for _, entry in FILES])
def test_a_vendored_file_is_unchanged_and_licensed(folder: Path, entry: dict[str, str]) -> None:
    assert hashlib.sha256((folder / entry["path"]).read_bytes()).hexdigest() == entry["sha256"]
    assert entry["version"]
    assert entry["licence"]
    assert (folder / entry["licence_file"]).stat().st_size > 100


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.parts[-3])
def test_nothing_vendored_is_unnamed(folder: Path) -> None:
    named = {entry["path"] for home, entry in FILES if home == folder}
    named |= {entry["licence_file"] for home, entry in FILES if home == folder}
    present = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert present - named - {"licences/echarts-notice.txt"} == {"VENDOR.toml"}


def test_every_icon_that_pages_name_is_in_the_sprite() -> None:
    sprite = (settings.BASE_DIR / "static/vendor/tabler-icons.svg").read_text()
    known = set(re.findall(r'<symbol id="([^"]+)"', sprite))
    named = set()
    for path in (settings.BASE_DIR / "templates").rglob("*.html"):
        text = path.read_text()
        named |= set(re.findall(r'{% icon "([^"]+)"', text)) | set(re.findall(r'\sicon="([^"{]+)"', text))
    assert named - known == set()


def test_our_styles_and_scripts_ask_nobody_else() -> None:
    for folder in ("css", "js"):
        for path in (settings.BASE_DIR / "static" / folder).iterdir():
            assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", path.read_text()), path.name
