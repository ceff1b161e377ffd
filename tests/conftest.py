"""What every test shares."""

from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--update-golden` rewrites tests/golden/ instead of comparing with it."""
    parser.addoption("--update-golden", action="store_true", help="rewrite the golden files; read the difference before you commit it")


@pytest.fixture
def update_golden(request: pytest.FixtureRequest) -> bool:
    """Whether golden files are to be rewritten."""
    return bool(request.config.getoption("--update-golden"))


@pytest.fixture
def in_project(monkeypatch: pytest.MonkeyPatch) -> Path:
    """Run in the project's root, as people do."""
    monkeypatch.chdir(ROOT)
    return ROOT
