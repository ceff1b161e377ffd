"""The two locks describe one set of packages, every one of them pinned by hash."""

import re
import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]


def _pins(text: str) -> dict[str, str]:
    """Version by package name; a package with several markers has one row each."""
    return {
        f"{canonicalize_name(name)}{marker}": version
        for name, version, marker in re.findall(r"^([A-Za-z0-9._-]+)==([^ ;\\]+)( ;[^\\]*)?", text, flags=re.M)
    }


def _lock(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def test_the_development_lock_holds_the_other_one() -> None:
    runtime, development = _pins(_lock("requirements.lock")), _pins(_lock("requirements-dev.lock"))

    assert runtime
    assert {name: development.get(name) for name in runtime} == runtime


def test_every_package_is_pinned_by_hash_and_no_lock_names_a_host() -> None:
    for name in ("requirements.lock", "requirements-dev.lock"):
        text = _lock(name)
        rows = [row for row in re.split(r"\n(?=\S)", text.strip()) if row]

        assert all("--hash=sha256:" in row for row in rows)
        assert "://" not in text


def test_the_lock_satisfies_what_the_project_asks_for() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    pins = _pins(_lock("requirements-dev.lock"))
    asked = [*project["project"]["dependencies"], *project["dependency-groups"]["build"], *project["dependency-groups"]["dev"]]

    for requirement in map(Requirement, asked):
        assert requirement.specifier.contains(pins[canonicalize_name(requirement.name)]), requirement
