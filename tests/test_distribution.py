"""What is installed is what is here: every module, every template, every table."""

import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
ROOMS = ("components", "hosts", "infra", "rungway")
TEMPLATES = ROOT / "hosts" / "templates"
SETUPTOOLS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]


def _files() -> set[Path]:
    found = (path for room in ROOMS for path in (ROOT / room).rglob("*"))
    return {path for path in found if path.is_file() and path.suffix != ".pyc"}


def _is_module(path: Path) -> bool:
    return path.suffix == ".py" and TEMPLATES not in path.parents


def test_every_folder_with_modules_is_a_package_of_the_distribution() -> None:
    folders = {path.parent.relative_to(ROOT) for path in _files() if _is_module(path)}

    assert {".".join(folder.parts) for folder in folders} == set(SETUPTOOLS["packages"])


def test_every_other_file_is_data_of_a_package() -> None:
    files = {path for path in _files() if not _is_module(path)}
    data = {
        path
        for package, patterns in SETUPTOOLS["package-data"].items()
        for pattern in patterns
        for path in ROOT.joinpath(*package.split(".")).glob(f"{pattern}/*" if pattern.endswith("**") else pattern)
    }

    assert {str(path.relative_to(ROOT)) for path in files - data} == set()
