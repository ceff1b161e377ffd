"""The pages that the program writes are the pages that are committed."""

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


def test_a_readme_without_its_marks_is_refused(in_project: Path) -> None:
    with pytest.raises(RungwayError, match=r"README.md: found no place for the ladder"):
        documentation._with_ladder("# Rungway\n", [])


def test_links_between_pages_lead_somewhere(in_project: Path) -> None:
    import re

    pages = [in_project / "README.md", in_project / "CONTRIBUTING.md", *(in_project / "docs").rglob("*.md")]
    broken = [
        f"{page.relative_to(in_project)}: {target}"
        for page in pages
        for target in re.findall(r"\]\(([^)#]+)", page.read_text(encoding="utf-8"))
        if "://" not in target and not (page.parent / target).exists()
    ]

    assert broken == []
