"""Reads and rewrites a YAML file of infra/catalog: comments, order and quotes stay, and the file is replaced at once or not at all."""

import os
import tempfile
from decimal import Decimal
from io import StringIO
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap
from ruamel.yaml.error import YAMLError
from ruamel.yaml.representer import RoundTripRepresenter

from rungway.errors import RungwayError


class _Representer(RoundTripRepresenter):
    """Writes decimals with the digits that they have, and a value that many rows share in each of them."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 (the library's own form)
        return True


_Representer.add_representer(Decimal, lambda self, number: self.represent_scalar("tag:yaml.org,2002:float", format(number, "f")))


def read_catalogue(path: Path) -> str:
    """The text of the file.

    Raises:
        RungwayError: it can't be read.
    """
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise RungwayError(f"{path}: can't read the catalogue: {reason}") from error


def parse_catalogue(text: str, path: Path) -> Any:
    """The document in `text`, to be changed in place and given to `render_catalogue`.

    Raises:
        RungwayError: it is not valid YAML.
    """
    try:
        return _yaml().load(text)
    except YAMLError as error:
        raise RungwayError(f"{path}: not valid YAML: {error}") from error


def render_catalogue(document: Any) -> str:
    """The text of a document of `parse_catalogue`."""
    buffer = StringIO()
    _yaml().dump(document, buffer)
    return buffer.getvalue()


def write_catalogue(path: Path, text: str) -> None:
    """Replace the file at once, with the mode that it has.

    Raises:
        RungwayError: it can't be written; it is then as it was.
    """
    try:
        mode = path.stat().st_mode & 0o777
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        temporary = Path(name)
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            temporary.chmod(mode)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise RungwayError(f"{path}: can't write the catalogue: {error.strerror}") from error


def one_line_row() -> CommentedMap:
    """A new, empty row that is written on one line, as the rows of the catalogue are."""
    row = CommentedMap()
    row.fa.set_flow_style()
    return row


def _yaml() -> YAML:
    yaml = YAML()
    yaml.Representer = _Representer
    yaml.preserve_quotes = True
    yaml.width = 10_000
    yaml.indent(mapping=2, sequence=4, offset=2)
    return yaml
