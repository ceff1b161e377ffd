"""The agent's own functions, where no server is needed: what counts as a difference, and how files, programs and apt are treated."""

import grp
import os
import pwd
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from hosts.converge import agent

ME = pwd.getpwuid(os.geteuid()).pw_name
MY_GROUP = grp.getgrgid(os.getegid()).gr_name
OWNERSHIP = (os.geteuid(), os.getegid(), 0o640)


def file(path: Path, content: str = "wanted", **more: Any) -> dict[str, Any]:
    given = {"path": str(path), "content": content, "owner": ME, "group": MY_GROUP, "mode": 0o640, "secret": False}
    return {**given, **more}


@pytest.fixture
def written(tmp_path: Path) -> Path:
    """A file as it should be."""
    path = tmp_path / "file"
    path.write_text("wanted")
    path.chmod(0o640)
    return path


def test_a_file_that_is_right_is_no_difference(written: Path) -> None:
    assert agent._file_is_right(file(written))


@pytest.mark.parametrize("wrong", [{"content": "Wanted"}, {"mode": 0o600}, {"owner": "nobody-knows"}, {"group": "nobody-knows"}], ids=str)
def test_a_file_with_something_wrong_is_a_difference(written: Path, wrong: dict[str, Any]) -> None:
    assert not agent._file_is_right(file(written, **wrong))


def test_a_link_to_a_file_that_is_right_is_a_difference(written: Path) -> None:
    link = written.with_name("link")
    link.symlink_to(written)

    assert not agent._file_is_right(file(link))
    assert agent._file_change(file(link)) == {"kind": "file", "name": str(link)}


def test_a_file_below_a_file_is_a_difference(written: Path) -> None:
    assert not agent._file_is_right(file(written / "below"))


def test_the_text_of_a_file_is_told_unless_it_is_secret_or_large(written: Path) -> None:
    assert agent._file_change(file(written))["now"] == "wanted"
    assert "now" not in agent._file_change(file(written, secret=True))
    written.write_text("x" * agent.DIFF_LIMIT_BYTES)
    assert "now" not in agent._file_change(file(written))
    written.write_bytes(b"\xff\r\n")
    assert agent._file_change(file(written))["now"] == "�\r\n"


def test_a_directory_must_be_one(tmp_path: Path, written: Path) -> None:
    tmp_path.chmod(0o750)
    wanted = {"path": str(tmp_path), "owner": ME, "group": MY_GROUP, "mode": 0o750}

    assert agent._directory_is_right(wanted)
    assert not agent._directory_is_right({**wanted, "mode": 0o700})
    assert not agent._directory_is_right({**wanted, "path": str(written), "mode": 0o640})
    with pytest.raises(NotADirectoryError):
        agent._make_directory({**wanted, "path": str(written), "mode": 0o755})


def test_a_file_that_the_units_read_differs_until_they_have_read_it(tmp_path: Path, written: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agent, "STATE", tmp_path / "state")
    missing = str(tmp_path / "missing")
    service = {"name": "reader", "reads": [str(written), missing]}

    assert agent._unread_files(service) == [str(written)]
    agent._remember(service, agent._digests(service))
    assert agent._unread_files(service) == []
    assert agent._unread_files({**service, "reads": []}) == []
    written.write_text("another")
    assert agent._unread_files(service) == [str(written)]
    assert stat.S_IMODE((tmp_path / "state/read/reader.json").stat().st_mode) == 0o600


@pytest.mark.parametrize("path", ["missing", "missing/below"])
def test_what_is_not_there_is_kept_as_such(tmp_path: Path, path: str) -> None:
    assert agent._file_now(str(tmp_path / path)) == {"path": str(tmp_path / path)}


def test_what_was_there_is_put_back_byte_for_byte(tmp_path: Path) -> None:
    binary, link, absent = tmp_path / "binary", tmp_path / "link", tmp_path / "absent"
    binary.write_bytes(bytes(range(256)))
    binary.chmod(0o4711)
    link.symlink_to("nowhere")
    before = [agent._file_now(str(path)) for path in (binary, link, absent)]
    for path in (binary, link, absent):
        path.unlink(missing_ok=True)
        path.write_text("new")
        agent._beside(path).write_text("half")

    for entry in before:
        agent._put_back(entry)
    assert binary.read_bytes() == bytes(range(256))
    assert stat.S_IMODE(binary.stat().st_mode) == 0o4711
    assert os.readlink(link) == "nowhere"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["binary", "link"]


def test_a_new_file_is_never_written_into_one_that_is_there(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("untouched")
    agent._beside(tmp_path / "file").symlink_to(victim)

    new = agent._write(tmp_path / "file", b"x", OWNERSHIP)
    assert not new.is_symlink()
    assert victim.read_text() == "untouched"
    assert stat.S_IMODE(new.stat().st_mode) == 0o640


def test_a_disk_that_is_full_is_said_with_the_files_name_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(agent.RefusedError, match=r"/file: No space left on device$"):
        agent._write(tmp_path / "file", b"x", OWNERSHIP)
    assert list(tmp_path.iterdir()) == []


def test_everything_is_on_the_disk_before_the_first_file_is_replaced(
    tmp_path: Path, written: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A power cut at any moment finds either no journal, and the old files, or a journal that can undo everything."""
    done = []
    sync, replace = os.fsync, Path.replace

    def noted_sync(handle: int) -> None:
        done.append(("on disk", Path(os.readlink(f"/proc/self/fd/{handle}")).name))
        sync(handle)

    def noted_replace(path: Path, target: Path) -> Path:
        done.append(("replaced", Path(target).name))
        return replace(path, target)

    def start(service: dict[str, Any], *, changed: bool) -> None:
        done.append(("started", service["name"]))
        assert changed

    monkeypatch.setattr(agent, "STATE", tmp_path / "state")
    monkeypatch.setattr(agent, "_start", start)
    monkeypatch.setattr(os, "fsync", noted_sync)
    monkeypatch.setattr(Path, "replace", noted_replace)
    agent._replace({"name": "probe", "units": [], "on_change": "restart"}, [file(written, "new")], [])

    assert done == [
        ("on disk", ".file.rungway"),
        ("on disk", ".probe.json.rungway"),
        ("replaced", "probe.json"),
        ("on disk", "previous"),
        ("replaced", "file"),
        ("on disk", tmp_path.name),
        ("started", "probe"),
        ("on disk", "previous"),
    ]
    assert written.read_text() == "new"
    assert list((tmp_path / "state/previous").iterdir()) == []


def test_a_fault_of_the_agent_itself_is_rolled_back(tmp_path: Path, written: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(service: dict[str, Any], changed: bool) -> None:
        raise KeyError(service["name"], changed)

    monkeypatch.setattr(agent, "STATE", tmp_path / "state")
    monkeypatch.setattr(agent, "_start", wrong)
    with pytest.raises(agent.RefusedError, match="The files of probe are as they were before"):
        agent._replace({"name": "probe", "units": [], "on_change": "restart"}, [file(written, "new"), file(tmp_path / "other")], [])
    assert written.read_text() == "wanted"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "state"]


def test_the_journal_is_for_root_alone(tmp_path: Path, written: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agent, "STATE", tmp_path / "state")

    journal = agent._write_journal({"name": "probe", "units": [], "on_change": "restart"}, [str(written)], [])
    assert stat.S_IMODE(journal.stat().st_mode) == 0o600


def test_parents_may_be_entered_whatever_the_umask_is(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        agent._make_parents(tmp_path / "a/b")
        assert os.umask(0o077) == 0o077
    finally:
        os.umask(before)
    assert [stat.S_IMODE((tmp_path / path).stat().st_mode) for path in ("a", "a/b")] == [0o755, 0o755]


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, for a view of the file system of its own")
def test_a_check_sees_everything_as_it_will_be_and_nobody_else_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a secret in it, which no command line shows."""
    staged = Path(f"/run/rungway-staged-{os.getpid()}")
    monkeypatch.setattr(agent, "STAGED", staged)
    changed, new, gone = tmp_path / "changed", tmp_path / "deep/new", tmp_path / "gone"
    changed.write_text("old")
    gone.write_text("old")
    seen = f'test "$(cat {changed} {new})" = ab\n! test -e {gone}\n! grep --quiet --text hidden-word /proc/$$/cmdline /proc/$PPID/cmdline'
    service = {"name": "probe", "checks": [seen]}

    agent._check(service, [file(changed, "a"), file(new, "b")], [str(gone)])
    assert (changed.read_text(), new.exists(), gone.exists()) == ("old", False, True)
    assert not staged.exists()
    with pytest.raises(agent.RefusedError, match="Nothing was changed"):
        agent._check({**service, "checks": ["cat /none"]}, [file(changed, "a")], [])
    assert not staged.exists()


def test_a_command_says_its_last_lines_in_whatever_encoding() -> None:
    code, said = agent._run([sys.executable, "-c", r"import sys; sys.stdout.buffer.write(b'x\n' * 100 + b'caf\xe9'); sys.exit(3)"])

    assert code == 3
    assert said.splitlines() == [*["x"] * 24, "caf�"]


def test_a_command_that_hangs_ends_with_all_that_it_started(tmp_path: Path) -> None:
    began = time.monotonic()
    note = tmp_path / "pid"

    code, said = agent._run(["bash", "-c", f"sleep 100 & echo $! > {note}; wait"], 0.5)
    assert (code, said) == (124, "no end after 0 s")
    assert time.monotonic() - began < 20
    state = subprocess.run(["ps", "-o", "state=", "-p", note.read_text().strip()], capture_output=True, text=True, check=False).stdout
    assert state.strip() in ("", "Z")


def test_a_command_gets_the_usual_umask() -> None:
    before = os.umask(0o077)
    try:
        assert agent._run(["sh", "-c", "umask"]) == (0, "0022")
    finally:
        os.umask(before)


def test_a_script_is_in_a_file_that_nobody_else_reads_and_that_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agent, "SCRIPTS", tmp_path)

    code, said = agent._bash("echo é; stat --format=%a $0; tr '\\0' ' ' < /proc/$$/cmdline; false; echo not reached")
    assert code == 1
    assert said.splitlines()[:2] == ["é", "600"]
    assert "not reached" not in said
    assert list(tmp_path.iterdir()) == []


class Apt:
    """Programs named `apt-get` and `dpkg` that note what they are asked; apt-get install fails as often as it is told."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.policy = directory / "policy-rc.d"
        self.failures = directory / "failures"
        self._asked = directory / "asked"
        script = f"""#!/bin/bash
echo "$(basename $0) $1 $(umask) $(test -x {self.policy} && echo quiet)" >> {self._asked}
if [[ $1 == install ]] && test -s {self.failures}; then
  sed -i 1d {self.failures}
  echo mirror is down
  exit 100
fi
"""
        for name in ("apt-get", "dpkg"):
            (directory / name).write_text(script)
            (directory / name).chmod(0o755)
        self.failures.write_text("")

    @property
    def asked(self) -> list[str]:
        return self._asked.read_text().splitlines()


@pytest.fixture
def apt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Apt:
    apt = Apt(tmp_path)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(agent, "POLICY", apt.policy)
    monkeypatch.setattr(agent, "APT_PAUSE_SECONDS", 0)
    return apt


def test_packages_are_tried_three_times_with_new_lists(apt: Apt) -> None:
    apt.failures.write_text("1\n2\n3\n")

    with pytest.raises(agent.RefusedError, match=r"^apt-get install nginx curl failed 3 times:\nmirror is down$") as caught:
        agent._install(["nginx", "curl"])
    assert caught.value.step == "installing packages"
    installs = [number for number, line in enumerate(apt.asked) if "install" in line]
    assert len(installs) == 3
    assert all("apt-get update" in apt.asked[number - 1] for number in installs[1:])
    assert not apt.policy.exists()


def test_a_mirror_that_is_back_is_enough_and_services_do_not_start_meanwhile(apt: Apt) -> None:
    apt.failures.write_text("1\n")

    agent._install(["nginx"])
    assert [line for line in apt.asked if "install" in line] == ["apt-get install 0022 quiet"] * 2
    assert apt.asked[0] == "dpkg --configure 0022 quiet"
    assert not apt.policy.exists()


def test_nothing_to_install_asks_nobody(apt: Apt) -> None:
    agent._install([])
    assert not (apt.policy.parent / "asked").exists()


def test_a_reader_who_left_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    stream = os.fdopen(writing, "w")
    monkeypatch.setattr(sys, "stdout", stream)
    reports = agent.Reports()

    reports.send(event="converged")
    assert reports.listener_gone
    with pytest.raises(BrokenPipeError):
        stream.close()
