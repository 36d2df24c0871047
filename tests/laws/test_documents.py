"""Documents and code tell the same."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_every_dependency_is_documented_with_its_reason() -> None:
    documented = (ROOT / "docs" / "dependencies.md").read_text().lower()
    for name in ("requirements.in", "requirements-dev.in"):
        for line in (ROOT / name).read_text().splitlines():
            if match := re.match(r"[A-Za-z0-9][A-Za-z0-9_-]*", line):
                assert match[0].lower() in documented, match[0]


def test_every_setting_of_the_environment_is_documented() -> None:
    documented = set(re.findall(r"^\| `([A-Z_]+)`", (ROOT / "docs" / "configuration.md").read_text(), re.M))
    read = {
        node.args[0].value
        for path in (ROOT / "mindweave" / "settings").glob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id.startswith("env_")
        and isinstance(node.args[0], ast.Constant)
    }
    assert read - documented == set()
    assert documented - read == {"DEMO"}


def test_every_link_between_documents_leads_somewhere() -> None:
    for path in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md", *(ROOT / "docs").rglob("*.md")]:
        for target in re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", path.read_text()):
            if "://" not in target:
                assert (path.parent / target).exists(), f"{path.relative_to(ROOT)} → {target}"


def test_the_project_stands_without_what_lies_beside_it() -> None:
    for folder in ("apps", "mindweave", "tests", "benchmarks", "templates", "static/js", "static/css"):
        for path in (ROOT / folder).rglob("*"):
            if (
                path.suffix in {".py", ".html", ".js", ".css", ".sh"}
                and "node_modules" not in path.parts
                and path != Path(__file__)
            ):
                assert "../shared" not in path.read_text(), path
