"""Writes every file of every server of a stack into a folder, to read, to compare and to check: secrets and addresses stay placeholders."""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from hosts.configuration import HostConfiguration
from hosts.render import host_configuration
from rungway.errors import RungwayError
from rungway.servers import servers_of_stack

MANIFEST = "server.json"
"""Beside the files of a server: what is no file, and who owns each file."""


def configurations_of(stack_name: str) -> dict[str, HostConfiguration]:
    """What every server of the stack holds, by the server's name.

    Raises:
        RungwayError: no such stack, or settings with problems.
    """
    return {host.name: host_configuration(host) for host in servers_of_stack(stack_name)}


def write_stack(stack_name: str, directory: Path) -> list[Path]:
    """Write the files of every server of the stack to `directory`/SERVER/PATH, all of them or none; returns what was written.

    Raises:
        RungwayError: no such stack, a folder that can't be written to, or one with something in it: nothing is overwritten or mixed.
    """
    files = {directory / name / path: text for name, host in configurations_of(stack_name).items() for path, text in rendered(host).items()}
    with _filled(directory):
        for path, text in files.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
    return list(files)


@contextmanager
def _filled(directory: Path) -> Iterator[None]:
    """A new or an empty folder, which is as it was before when the block does not end well."""
    try:
        is_new = not directory.exists()
        if not is_new and (not directory.is_dir() or any(directory.iterdir())):
            raise RungwayError(
                f"{directory}: found a file, or a folder with something in it; allowed: a new or an empty folder",
                hint="name another folder, or remove this one first",
            )
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _unwritable(directory, error) from error
    try:
        yield
    except BaseException as error:
        for item in directory.iterdir():
            shutil.rmtree(item, ignore_errors=True)
        if is_new:
            directory.rmdir()
        if isinstance(error, OSError):
            raise _unwritable(directory, error) from error
        raise


def _unwritable(directory: Path, error: OSError) -> RungwayError:
    found = error.strerror or str(error)
    return RungwayError(
        f"{directory}: can't write the servers' files: found '{found}' at {error.filename or directory}; allowed: a folder to write to, "
        "with room in it; nothing was written",
        hint="name another folder",
    )


def rendered(configuration: HostConfiguration) -> dict[str, str]:
    """The files of one server by their path without the leading slash, and the manifest."""
    texts = {file.path.lstrip("/"): file.content for file in configuration.files}
    return {**texts, MANIFEST: json.dumps(_manifest(configuration), indent=2) + "\n"}


def _manifest(configuration: HostConfiguration) -> list[dict[str, object]]:
    """The services in their order, without the files' contents and without what is empty."""
    services = []
    for service in configuration.services:
        entry = {key: value for key, value in asdict(service).items() if value not in ((), "")}
        entry["files"] = [
            {"path": file.path, "owner": f"{file.owner}:{file.group}", "mode": f"{file.mode:04o}", "secret": file.is_secret}
            for file in service.files
        ]
        entry["directories"] = [
            {"path": item.path, "owner": f"{item.owner}:{item.group}", "mode": f"{item.mode:04o}"} for item in service.directories
        ]
        services.append({key: value for key, value in entry.items() if value != []})
    return services
