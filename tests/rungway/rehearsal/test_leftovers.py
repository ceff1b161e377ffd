"""A rehearsal makes what its servers need, and removes what is its own and nothing of another's."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import pytest

from rungway.rehearsal.phase import RehearsedPhase, remove_leftovers
from rungway.rehearsal.rehearse import chosen_servers
from rungway.stacks import find_stack, project_root

ROOT = project_root(Path.cwd())
NAME = f"test-leftovers-{os.getpid()}"


class _PreparedError(Exception):
    """Roots are there; nothing else is made."""


@pytest.mark.parametrize(("role", "images"), [("database", 0), ("app", 1)])
def test_the_application_is_an_image_only_where_a_server_runs_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, role: str, images: int
) -> None:
    settings, hosts = chosen_servers(find_stack("phase2", ROOT), frozenset())
    phase = RehearsedPhase(NAME, settings, [host for host in hosts if host.role == role], tmp_path / "work", tmp_path, print)
    made: list[Path] = []

    def application_image(source: Path) -> Path:
        made.append(source)
        return source

    def make_operator() -> NoReturn:
        raise _PreparedError

    monkeypatch.setattr(phase, "_make_operator", make_operator)
    for root in ("pool", "with_packages", "base"):
        monkeypatch.setattr(phase._roots, root, lambda *_: tmp_path)
    monkeypatch.setattr(phase._roots, "application_image", application_image)
    with pytest.raises(_PreparedError):
        phase.prepare()

    assert len(made) == images


@pytest.fixture
def loops() -> Iterator[list[str]]:
    """Loop devices that are detached after the test, those that still are attached."""
    made: list[str] = []
    yield made
    for loop in made:
        subprocess.run(["losetup", "--detach", loop], capture_output=True)


def _attach(volume: Path, *before: str) -> str:
    """A loop device for the file, as another mount namespace has it after the commands `before`."""
    script = "; ".join([*before, f"truncate --size 1M {volume}", f"losetup --find --show {volume}"])
    return subprocess.run(["unshare", "--mount", "sh", "-ec", script], check=True, capture_output=True, text=True).stdout.strip()


def _attached(loop: str) -> bool:
    return bool(subprocess.run(["losetup", loop], capture_output=True).returncode == 0)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, for loop devices")
def test_the_loop_device_of_a_removed_volume_goes_and_that_of_a_container_at_the_same_path_stays(tmp_path: Path, loops: list[str]) -> None:
    directory, elsewhere = tmp_path / "rehearsal", tmp_path / "elsewhere"
    volume = directory / "servers/database-1/volume.img"
    for folder in (volume.parent, elsewhere / "servers/database-1"):
        folder.mkdir(parents=True)
    ours = _attach(volume)
    others = _attach(volume, f"mount --bind {elsewhere} {directory}")
    loops += [ours, others]

    remove_leftovers(NAME, directory)

    assert not directory.exists()
    assert not _attached(ours)
    assert _attached(others)
