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

_EXPECTED = "allowed: 'config:' with keys such as 'rungway:name' below it"

_DEEPEST = 50
"""Groups within groups that a stack file may have; the settings need seven."""


class StackFileError(pulumi.RunError):
    """A stack file that can't be read; the text starts with its path and place."""


def read_stack_file(path: Path) -> dict[str, Any]:
    """The contents of a stack file.

    Raises:
        StackFileError: the file is missing, unreadable, no YAML, or no mapping; with line and column where there is one.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise StackFileError(f"{path}: can't read the stack file: {error.strerror}") from error
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        lines = content[: error.start].split(b"\n")
        place = f"{path}:{len(lines)}:{len(lines[-1].decode('utf-8')) + 1}"
        raise StackFileError(f"{place}: found the byte 0x{content[error.start]:02x}, which is not UTF-8; save the file as UTF-8") from error
    try:
        data = YAML(typ="safe", pure=True).load(text)
        _refuse_cycles(data)
    except DuplicateKeyError as error:
        raise StackFileError(f"{_place(path, error)}: {_without_values(error)}; keep one of them") from error
    except MarkedYAMLError as error:
        tab = "; YAML allows no tabs for indentation: use spaces" if "\\t" in str(error.problem) else ""
        raise StackFileError(f"{_place(path, error)}: {error.problem or error.context}{tab}") from error
    except (YAMLError, ValueError) as error:
        raise StackFileError(f"{path}: not valid YAML: {(str(error).splitlines() or ['no reason given'])[0]}") from error
    except RecursionError as error:
        raise StackFileError(f"{path}: found groups within groups without an end; {_EXPECTED}") from error
    if data is None:
        raise StackFileError(f"{path}: found an empty file; {_EXPECTED}")
    if not isinstance(data, dict):
        raise StackFileError(f"{path}:1:1: found no mapping; {_EXPECTED}")
    if not isinstance(data.get("config") or {}, dict):
        raise StackFileError(f"{path}: found no mapping below 'config:'; {_EXPECTED}")
    return data


def engine_config(stack_file: Mapping[str, Any]) -> tuple[dict[str, str], list[str]]:
    """The config that the engine gives the program, and which of its keys are secret.

    Texts stay as they are; everything else becomes the JSON that the engine writes (`object.MarshalString` in
    sdk/go/common/resource/config of the Pulumi source). A key without a namespace gets the project's, and the old form
    `<namespace>:config:<key>` loses its middle. An encrypted value becomes `ENCRYPTED`.
    """
    config: dict[str, str] = {}
    secret_keys: list[str] = []
    for key, value in (stack_file.get("config") or {}).items():
        full = _full_key(str(key))
        plain = _decrypted(value)
        if plain != value:
            secret_keys.append(full)
        if isinstance(plain, str):
            config[full] = plain
        else:
            # Go's YAML leaves a value that is nothing as an empty text.
            config[full] = "" if plain is None else _json(plain)
    return config, secret_keys


def _full_key(key: str) -> str:
    namespace, _, rest = key.partition(":")
    return f"{namespace}:{rest.removeprefix('config:')}" if rest else f"{PROJECT}:{key}"


def _decrypted(value: Any) -> Any:
    """The value as it is after decryption: a group of the one key `secure` with a text is an encrypted value (`isSecureValue`)."""
    if isinstance(value, dict):
        if set(value) == {"secure"} and isinstance(value["secure"], str):
            return ENCRYPTED
        return {key: _decrypted(item) for key, item in value.items()}
    return [_decrypted(item) for item in value] if isinstance(value, list) else value


def _json(value: Any) -> str:
    """As Go's encoding/json writes it: without spaces, keys in order, whole numbers without a fraction, <, > and & as escapes."""
    text = json.dumps(_as_in_go(value), ensure_ascii=False, separators=(",", ":"), sort_keys=True, default=str)
    for letter in "<>&\u2028\u2029":
        text = text.replace(letter, f"\\u{ord(letter):04x}")
    return text


def _as_in_go(value: Any) -> Any:
    if isinstance(value, dict):
        return {_key_text(key): _as_in_go(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_as_in_go(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() and abs(value) < 1e21 else value


def _key_text(key: Any) -> str:
    return str(key).lower() if isinstance(key, bool) else str(key)


def _refuse_cycles(value: Any, depth: int = 0) -> None:
    """An alias may stand inside of what it names; no plan could follow that."""
    if depth > _DEEPEST:
        raise RecursionError
    for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        _refuse_cycles(item, depth + 1)


def _without_values(error: DuplicateKeyError) -> str:
    """The parser's words without both values, for one may be a secret."""
    return str(error.problem).partition(" with value")[0]


def _place(path: Path, error: MarkedYAMLError) -> str:
    mark = error.problem_mark
    return f"{path}:{mark.line + 1}:{mark.column + 1}" if mark is not None else str(path)
