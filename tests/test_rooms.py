"""The rooms of the house: who may import whom (CONTRIBUTING.md)."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
ROOMS = ("components", "hosts", "infra", "rungway")
ALLOWED = {
    "components": {"hosts"},
    "hosts": set(),
    "infra": {"components", "hosts"},
    "rungway": {"components", "hosts", "infra"},
}


def _rooms_imported(source: str) -> set[str]:
    rooms = set()
    for node in ast.walk(ast.parse(source)):
        names = (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else []
        )
        rooms |= {name.split(".")[0] for name in names} & set(ROOMS)
    return rooms


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_only_what_it_may(room: str) -> None:
    files = sorted((ROOT / room).rglob("*.py"))
    assert files

    wrong = {str(path.relative_to(ROOT)): found for path in files if (found := _rooms_imported(path.read_text()) - ALLOWED[room] - {room})}

    assert wrong == {}


def test_an_import_from_a_forbidden_room_is_seen() -> None:
    assert _rooms_imported("def late():\n    from infra.settings import Settings\n") == {"infra"}
