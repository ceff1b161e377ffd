"""Reads a stack file as the Pulumi engine does, and says exactly where one can't be read."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pulumi
from ruamel.yaml import YAML
from ruamel.yaml.constructor import DuplicateKeyError
from ruamel.yaml.error import MarkedYAMLError, YAMLError

PROJECT = "rungway"
ENCRYPTED = "[secret]"
"""Stands for a value that only the engine can decrypt."""


class StackFileError(pulumi.RunError):
    """A stack file that can't be read; the text starts with its path and place."""


def read_stack_file(path: Path) -> dict[str, Any]:
    """The contents of a stack file.

    Raises:
        StackFileError: the file is missing, unreadable, no YAML, or no mapping; with line and column where there is one.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise StackFileError(f"{path}: can't read the stack file: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise StackFileError(f"{path}: found a byte at position {error.start} that is not UTF-8; save the file as UTF-8") from error
    try:
        data = YAML(typ="safe", pure=True).load(text)
    except DuplicateKeyError as error:
        raise StackFileError(f"{_place(path, error)}: {str(error.problem).splitlines()[0]}; keep one of them") from error
    except MarkedYAMLError as error:
        tab = "; YAML allows no tabs for indentation: use spaces" if "\\t" in str(error.problem) else ""
        raise StackFileError(f"{_place(path, error)}: {error.problem}{tab}") from error
    except (YAMLError, ValueError) as error:
        raise StackFileError(f"{path}: not valid YAML: {str(error).splitlines()[0]}") from error
    if data is None:
        data = {}
    if not isinstance(data, dict) or not isinstance(data.get("config", {}) or {}, dict):
        raise StackFileError(f"{path}: found no mapping; allowed: 'config:' with keys such as 'rungway:name' below it")
    return data


def engine_config(stack_file: Mapping[str, Any]) -> tuple[dict[str, str], list[str]]:
    """The config that the engine gives the program, and which of its keys are secret.

    Texts stay as they are, other scalars become their YAML text, lists and mappings JSON; a key without a namespace gets the project's
    (sdk/go/common/resource/config in the Pulumi source). An encrypted value becomes `ENCRYPTED`.
    """
    config: dict[str, str] = {}
    secret_keys: list[str] = []
    for key, value in (stack_file.get("config") or {}).items():
        full = str(key) if ":" in str(key) else f"{PROJECT}:{key}"
        plain = _decrypted(value)
        if plain != value:
            secret_keys.append(full)
        if isinstance(plain, str):
            config[full] = plain
        elif isinstance(plain, bool):
            config[full] = str(plain).lower()
        else:
            config[full] = "" if plain is None else json.dumps(plain, default=str)
    return config, secret_keys


def _decrypted(value: Any) -> Any:
    if isinstance(value, dict):
        return ENCRYPTED if set(value) == {"secure"} else {key: _decrypted(item) for key, item in value.items()}
    return [_decrypted(item) for item in value] if isinstance(value, list) else value


def _place(path: Path, error: MarkedYAMLError) -> str:
    mark = error.problem_mark
    return f"{path}:{mark.line + 1}:{mark.column + 1}" if mark is not None else str(path)
