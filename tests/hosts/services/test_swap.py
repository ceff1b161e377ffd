"""The swap file: made once and whole, readable by root alone, used again after a boot."""

import subprocess
from pathlib import Path

import pytest

from hosts.services.swap import SWAP_FILE, UNIT, swap
from tests.support.minimal_host import minimal_host

SWAPON = """\
#!/bin/sh
if test "$1" = --show=NAME; then cat "{used}"; else echo "$1" >> "{used}"; fi
"""


@pytest.fixture
def used(tmp_path: Path) -> Path:
    """What the kernel would swap to, for a `swapon` that only takes notes: the machine's own is not for tests to change."""
    file = tmp_path / "used"
    file.touch()
    swapon = tmp_path / "swapon"
    swapon.write_text(SWAPON.format(used=file))
    swapon.chmod(0o755)
    return file


def _swap_on(directory: Path) -> Path:
    """Run the script with a small file in `directory`."""
    service = swap(minimal_host(role="app"))
    assert service is not None
    file = directory / "swapfile"
    script = service.files[0].content.replace(SWAP_FILE, str(file)).replace("1024MiB", "1MiB")
    subprocess.run(["bash", "-c", script], env={"PATH": f"{directory}:/usr/sbin:/usr/bin:/sbin:/bin"}, check=True)
    return file


@pytest.mark.parametrize(("role", "has_swap"), [("app", True), ("database", False), ("redis", False), ("kubernetes-worker", False)])
def test_servers_with_rollouts_have_swap(role: str, has_swap: bool) -> None:
    assert (swap(minimal_host(role=role)) is not None) == has_swap


def test_it_is_made_for_root_alone_and_used(tmp_path: Path, used: Path) -> None:
    file = _swap_on(tmp_path)

    assert used.read_text().split() == [str(file)]
    assert (file.stat().st_size, file.stat().st_mode & 0o777) == (1024**2, 0o600)
    assert file.read_bytes()[4086:4096] == b"SWAPSPACE2"


def test_one_that_is_in_use_stays(tmp_path: Path, used: Path) -> None:
    file = _swap_on(tmp_path)
    made = file.stat().st_mtime_ns

    _swap_on(tmp_path)

    assert used.read_text().split() == [str(file)]
    assert file.stat().st_mtime_ns == made


def test_after_a_boot_the_same_file_is_used_again(tmp_path: Path, used: Path) -> None:
    file = _swap_on(tmp_path)
    made = file.stat().st_ino
    used.write_text("")

    _swap_on(tmp_path)

    assert used.read_text().split() == [str(file)]
    assert file.stat().st_ino == made


def test_what_a_cut_left_is_made_anew(tmp_path: Path, used: Path) -> None:
    (tmp_path / "swapfile.new").write_text("half")

    file = _swap_on(tmp_path)

    assert used.read_text().split() == [str(file)]
    assert [path.name for path in tmp_path.glob("swapfile*")] == ["swapfile"]


def test_the_unit_has_no_view_of_the_file_system_of_its_own() -> None:
    """In one, /proc/swaps has the file by a name that is gone when the unit has ended, and nobody finds it again."""
    service = swap(minimal_host(role="app"))
    assert service is not None
    unit = next(file.content for file in service.files if file.path.endswith(UNIT))
    assert not [line for line in unit.splitlines() if line.startswith(("Private", "Protect", "ReadWritePaths", "ReadOnlyPaths"))]
