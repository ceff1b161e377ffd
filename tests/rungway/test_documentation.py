"""The pages that the program writes are the pages that are committed."""

import re
from pathlib import Path

import pytest

from rungway import documentation
from rungway.documentation import write_documentation
from rungway.errors import RungwayError


def test_every_generated_page_is_current(in_project: Path) -> None:
    assert write_documentation(only_check=True) == []


def test_a_stale_page_is_seen(in_project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(documentation, "settings_page", lambda: "something else\n")

    assert write_documentation(only_check=True) == ["docs/settings.md"]


def test_a_page_without_its_marks_is_refused() -> None:
    with pytest.raises(RungwayError, match=r"README.md: found no place for the ladder"):
        documentation._with_part("README.md", "# Rungway\n", "ladder", "")


def test_only_what_is_between_the_marks_is_written() -> None:
    page = "before\n<!-- alerts: written by `rungway docs write` -->\nold\n<!-- end of alerts -->\nafter\n"

    assert documentation._with_part("a.md", page, "alerts", "new\n") == page.replace("old", "new")


def test_every_alert_of_the_rule_files_is_in_the_table(in_project: Path) -> None:
    rules = (in_project / "hosts/templates/prometheus").glob("*.yml")
    names = {name for file in rules for name in re.findall(r"- alert: (\w+)", file.read_text(encoding="utf-8"))}
    page = (in_project / "docs/monitoring.md").read_text(encoding="utf-8")

    assert len(names) > 30
    assert {name for name in names if f"| `{name}` |" not in page} == set()


def test_what_prometheus_fills_in_is_named() -> None:
    assert documentation._plain("{{ $labels.server }}: {{ printf `%.0f` $value }} %, limit 80 %") == "SERVER: N %, limit 80 %"


def test_links_between_pages_lead_somewhere(in_project: Path) -> None:
    pages = [in_project / "README.md", in_project / "CONTRIBUTING.md", *(in_project / "docs").rglob("*.md")]
    broken = [
        f"{page.relative_to(in_project)}: {target}"
        for page in pages
        for target in re.findall(r"\]\(([^)#]+)", page.read_text(encoding="utf-8"))
        if "://" not in target and not (page.parent / target).exists()
    ]

    assert broken == []
