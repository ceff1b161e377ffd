"""Cached roots are made once and whole, and what was mounted in them is unmounted with them."""

import os
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from rungway.errors import RungwayError
from rungway.rehearsal import roots
from rungway.rehearsal.roots import DPKG_STATUS, KEPT_ROOTS, MIRROR, Overlay, Roots, remove_root, run


class _Roots(Roots):
    """Makes its roots of one file, quickly."""

    def __init__(self, directory: Path, *, fails: bool = False) -> None:
        self.said: list[str] = []
        self.fails = fails
        self.installed = "Package: dpkg\nVersion: 1.22.21\n"
        super().__init__(directory, self.said.append)

    def _make_base(self, path: Path) -> None:
        self._make_layer(path, ())
        (path / DPKG_STATUS).parent.mkdir(parents=True)
        (path / DPKG_STATUS).write_text(self.installed)

    def _make_layer(self, path: Path, packages: Sequence[str]) -> None:
        path.mkdir()
        (path / "packages").write_text(" ".join(packages))
        if self.fails:
            raise RungwayError("rehearsal: no network")


def _made_and_let_go(cache: Path, package: str) -> Path:
    return _Roots(cache).with_packages("layer", [package])


def test_a_root_is_made_once(tmp_path: Path) -> None:
    made = _Roots(tmp_path / "cache")

    assert made.base() == made.base() == _Roots(tmp_path / "cache").base()
    assert made.said == ["making base, once"]


def test_other_packages_are_another_root_in_whatever_order(tmp_path: Path) -> None:
    made = _Roots(tmp_path)
    both = made.with_packages("layer", ["nginx", "redis-server"])

    assert made.with_packages("layer", ["redis-server", "nginx"]) == both
    assert made.with_packages("layer", ["nginx"]) != both
    assert (both / "packages").read_text() == "nginx redis-server"


def test_another_base_is_another_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = _Roots(tmp_path).with_packages("layer", ["nginx"])
    monkeypatch.setattr(roots, "BASE_PACKAGES", (*roots.BASE_PACKAGES, "locales"))

    assert _Roots(tmp_path).with_packages("layer", ["nginx"]) != before


def test_another_state_of_the_base_is_another_layer(tmp_path: Path) -> None:
    """A base that was forgotten and is made anew has a later day's packages."""
    before = _Roots(tmp_path)
    layer, pool = before.with_packages("layer", ["nginx"]), before.with_packages("pool", ["nginx"])
    remove_root(before.base())
    after = _Roots(tmp_path)
    after.installed = "Package: dpkg\nVersion: 1.22.22\n"

    assert after.base() == before.base()
    assert after.with_packages("layer", ["nginx"]) != layer
    assert after.with_packages("pool", ["nginx"]) != pool


def test_a_root_that_could_not_be_finished_is_none(tmp_path: Path) -> None:
    with pytest.raises(RungwayError, match="no network") as caught:
        _Roots(tmp_path, fails=True).base()

    assert caught.value.hint == f"base is made of packages from {MIRROR}, once: can this machine reach it?"
    assert [path.name for path in tmp_path.iterdir()] == ["base.lock"]
    made = _Roots(tmp_path)
    assert (made.base() / "packages").exists()
    assert made.said == ["making base, once"]


def test_what_a_killed_run_left_is_not_taken_for_a_root(tmp_path: Path) -> None:
    base = _Roots(tmp_path).base()
    base.rename(base.with_suffix(".new"))
    (base.with_suffix(".new") / "half").touch()
    (base.with_suffix(".work") / "root").mkdir(parents=True)

    assert not (_Roots(tmp_path).base() / "half").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([base.name, "base.lock"])


def test_only_the_latest_roots_are_kept(tmp_path: Path) -> None:
    paths = [_made_and_let_go(tmp_path, f"package-{number}") for number in range(KEPT_ROOTS)]
    for age, path in enumerate(reversed(paths)):
        os.utime(path, (1_000_000 - age, 1_000_000 - age))
    base = _Roots(tmp_path).base()
    _made_and_let_go(tmp_path, "one-more")

    assert [path.exists() for path in paths] == [False] + [True] * (KEPT_ROOTS - 1)
    assert base.exists()


def test_roots_in_use_are_kept_however_old(tmp_path: Path) -> None:
    user, other = _Roots(tmp_path), _Roots(tmp_path)
    used = user.with_packages("layer", ["in use"])
    unused = _made_and_let_go(tmp_path, "unused")
    for path in (used, unused):
        os.utime(path, (1_000_000, 1_000_000))
    for number in range(KEPT_ROOTS + 1):
        other.with_packages("layer", [f"package-{number}"])

    assert used.exists()
    assert not unused.exists()


def test_a_failed_command_says_the_end_of_what_it_said() -> None:
    with pytest.raises(RungwayError) as caught:
        run(["sh", "-c", "seq 20; exit 3"])

    numbers = "\n".join(str(number) for number in range(13, 21))
    assert str(caught.value) == f"rehearsal: `sh -c seq 20; exit 3` failed with exit code 3: {numbers}"


def test_a_command_that_does_not_end_is_ended() -> None:
    with pytest.raises(RungwayError, match=r"^rehearsal: `sleep 60` did not end within 0 s$"):
        run(["sleep", "60"], 0.1)


def test_what_a_command_started_in_turn_ends_with_it(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "held")
    reader = os.open(tmp_path / "held", os.O_RDONLY | os.O_NONBLOCK)
    try:
        with pytest.raises(RungwayError, match="did not end within"):
            run(["sh", "-c", f"sleep 60 > {tmp_path}/held & wait"], 0.5)

        # The end of the file: nobody can write any more. Else it would block.
        assert os.read(reader, 1) == b""
    finally:
        os.close(reader)


def test_a_command_returns_what_it_printed() -> None:
    assert run(["sh", "-c", "echo out; echo err >&2"]) == "out\nerr\n"


needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to mount")


@pytest.fixture
def mounts(tmp_path: Path) -> Iterator[Path]:
    """A directory that tests mount in."""
    yield tmp_path
    remove_root(tmp_path)


def _mounted(path: Path) -> bool:
    return any(line.split()[1] == str(path) for line in Path("/proc/mounts").read_text().splitlines())


@needs_root
def test_an_overlay_keeps_what_is_below_as_it_is(mounts: Path) -> None:
    top, bottom = mounts / "top", mounts / "bottom"
    for layer in (top, bottom):
        layer.mkdir()
        (layer / "file").write_text(layer.name)

    with Overlay([top, bottom], mounts / "overlay") as root:
        assert (root / "file").read_text() == "top"
        (root / "file").write_text("mine")
        (root / "below").mkdir()
        run(["mount", "-t", "tmpfs", "tmpfs", str(root / "below")])

    assert not _mounted(root)
    assert not _mounted(root / "below")
    assert list(root.iterdir()) == []
    assert [(layer / "file").read_text() for layer in (top, bottom, mounts / "overlay/upper")] == ["top", "bottom", "mine"]


@needs_root
def test_an_overlay_is_unmounted_after_an_error(mounts: Path) -> None:
    (mounts / "layer").mkdir()
    overlay = Overlay([mounts / "layer"], mounts / "overlay", upper=mounts / "kept")
    with pytest.raises(RungwayError, match="`false` failed"), overlay as root:
        run(["false"])

    assert not _mounted(root)


@needs_root
def test_roots_below_servers_that_were_left_up_are_kept(mounts: Path) -> None:
    below = _made_and_let_go(mounts / "cache", "below a server")
    os.utime(below, (1_000_000, 1_000_000))
    Overlay([below], mounts / "server").mount()
    made = _Roots(mounts / "cache")
    for number in range(KEPT_ROOTS + 1):
        made.with_packages("layer", [f"package-{number}"])

    assert below.exists()


@needs_root
@pytest.mark.parametrize(
    ("command", "said"), [("true", "`umount --recursive [^ ]*` failed with exit code 32: .*target is busy"), ("false", "`false` failed")]
)
def test_an_overlay_that_is_still_used_is_an_error_unless_there_is_another(mounts: Path, command: str, said: str) -> None:
    (mounts / "layer").mkdir()
    overlay = Overlay([mounts / "layer"], mounts / "overlay")
    users = []

    def use() -> None:
        with overlay as root:
            users.append(subprocess.Popen(["sleep", "60"], cwd=root))
            run([command])

    with pytest.raises(RungwayError, match=said):
        use()
    users[0].kill()
    users[0].wait()


@needs_root
def test_a_root_is_removed_with_its_mounts_and_no_other(mounts: Path) -> None:
    for path in (mounts / "root/a b", mounts / "root-other"):
        path.mkdir(parents=True)
        subprocess.run(["mount", "-t", "tmpfs", "tmpfs", str(path)], check=True)

    remove_root(mounts / "root")

    assert not (mounts / "root").exists()
    assert _mounted(mounts / "root-other")
