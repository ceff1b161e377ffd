"""Pulumi.yaml describes every key, in forms that the engine accepts and that stand for the program's own defaults."""

import json
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from infra.reading import KEYS, LISTS, TEXTS
from infra.stack_file import engine_config
from tests.support.stack_config import read, stack_config

ROOT = Path(__file__).resolve().parents[2]
EMPTY = {"string": "", "array": [], "object": {}}


@pytest.fixture
def project() -> Any:
    return YAML(typ="safe", pure=True).load((ROOT / "Pulumi.yaml").read_text(encoding="utf-8"))


def test_the_project_runs_this_program(project: Any) -> None:
    assert (project["name"], project["main"]) == ("rungway", "infra")
    assert project["runtime"] == {"name": "python", "options": {"virtualenv": ".venv"}}
    assert project["description"]


def test_every_key_and_no_other_is_described(project: Any) -> None:
    assert sorted(project["config"]) == sorted(f"rungway:{key}" for key in KEYS)
    assert [key for key, entry in project["config"].items() if not entry["description"].endswith(".")] == []


def test_every_key_has_its_type_and_a_default_of_that_type(project: Any) -> None:
    """The rules of Project.Validate (sdk/go/common/workspace/project.go): an array names its items, a default is of the key's type.

    A key without a default would make the engine stop before the program can say what is missing and how to set it.
    """
    wrong = []
    for full, entry in project["config"].items():
        key = full.removeprefix("rungway:")
        kind = "string" if key in TEXTS else "array" if key in LISTS else "object"
        items = {"type": "object" if key == "regions" else "string"} if kind == "array" else None
        default = TEXTS[key] if key in TEXTS else EMPTY[kind]
        if (entry["type"], entry.get("items"), entry.get("default")) != (kind, items, default):
            wrong.append(full)
        if not set(entry) <= {"type", "items", "default", "description"}:
            wrong.append(full)
    assert wrong == []


def test_the_defaults_change_nothing(project: Any) -> None:
    """The engine gives the program a project's default for each key that a stack leaves out."""
    defaults, _ = engine_config({"config": {key: entry["default"] for key, entry in project["config"].items()}})

    assert read({**defaults, **stack_config()}) == read()


@pytest.mark.parametrize("path", [*sorted(ROOT.glob("Pulumi.*.yaml")), *sorted(ROOT.glob("roadmaps/*/Pulumi.*.yaml"))], ids=str)
def test_every_stack_file_passes_the_engines_own_check(project: Any, path: Path) -> None:
    """validateStackConfigValue (pkg/workspace/config.go): every value is of the type that the project file states."""
    config = YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))["config"]
    kinds = {"string": str, "array": list, "object": dict}

    assert [key for key, value in config.items() if not isinstance(value, kinds[project["config"][key]["type"]])] == []
    assert json.dumps(config)
