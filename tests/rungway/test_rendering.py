"""The files of every server: the committed ones, so that a change of any is seen and read, and what must hold for all of them."""

import errno
import os
import re
import subprocess
import sys
from collections import Counter
from functools import cache
from pathlib import Path, PurePosixPath

import pytest

from hosts.configuration import PLACEHOLDER, HostConfiguration, HostFile, secret
from rungway.errors import RungwayError
from rungway.rendering import configurations_of, rendered, write_stack
from rungway.stacks import all_stacks

ROOT = Path(__file__).resolve().parents[2]
GOLDEN = ROOT / "tests" / "golden" / "hosts"
STACKS = [stack.name for stack in all_stacks(ROOT)]

FIRST_OF_EACH_ROLE = ("mvp", "phase2", "phase3", "lean/phase2")
"""The default phases, and one at DigitalOcean, which assigns private addresses. Other servers of a role differ in names and addresses."""
SINGLE_SERVERS = {"phase4": ("database-us-1", "redis-us-1")}
"""Stores of a second region: they follow the first region's."""

PACKAGE_ACCOUNTS = {
    "etcd": {"etcd-server"},
    "postgres": {"postgresql-17", "pgbouncer"},
    "prometheus": {"prometheus", "prometheus-alertmanager", "prometheus-node-exporter"},
    "redis": {"redis-server", "redis-sentinel"},
    "systemd-journal-remote": {"systemd-journal-remote"},
}
"""Accounts that Debian's packages make, or packages that these need."""

GROUP_READERS = {
    "/etc/pgbackrest.conf": "PostgreSQL archives as postgres, which must not change where to",
    "/etc/redis/redis.conf": "Redis reads it as redis, and must not change it",
    "/etc/redis/sentinel.conf": "Sentinel reads it as redis, and must not change it",
    "/etc/redis/users.acl": "Redis reads it as redis, and must not change it",
    "/etc/rungway/tls/server.key": "several daemons, each with its own account, serve with this key",
}
"""Secret files that their group reads, and why their daemon is not simply their owner."""

SECRETS = (
    # A setting whose name says so, with a value of its own: no placeholder, no variable, no prose. etcd calls a cluster's name its token.
    re.compile(
        r"""^[\s{]*["']?[\w.-]*(?:password|secret|(?<!cluster-)token|passphrase|cipher-pass|requirepass|auth-pass)["']?\s*[=:]\s*(?!["']?\$)["']?(\S+)""",
        re.I | re.M,
    ),
    # What generators make: long, with letters of both cases and digits, or hexadecimal.
    re.compile(r"\b(?=[a-z0-9]*[A-Z])(?=[A-Z0-9]*[a-z])(?=[A-Za-z]*[0-9])([A-Za-z0-9]{20,})\b"),
    re.compile(r"\b([0-9a-f]{32,})\b"),
    re.compile(r"://[^/\s:@$]*:([^/\s:@$]+)@"),
    re.compile(r"(-----BEGIN [A-Z ]*PRIVATE KEY-----)"),
)
"""What a password or a key looks like in a configuration file."""
NO_SECRETS = {"true", "false"}
"""The manifest's own: whether a file is secret."""


@cache
def _configurations(stack: str) -> dict[str, HostConfiguration]:
    return configurations_of(stack)


def _committed(stack: str) -> dict[str, HostConfiguration]:
    """Those servers of the stack whose files are committed."""
    configurations = _configurations(stack)
    if stack in SINGLE_SERVERS:
        return {name: configurations[name] for name in SINGLE_SERVERS[stack]}
    first = {name.rpartition("-")[0]: name for name in reversed(configurations)}
    return {name: configurations[name] for name in first.values()}


def _mode_problems(file: HostFile) -> list[str]:
    """Who else could read a secret file."""
    if not file.is_secret:
        return []
    readers = file.mode & 0o077
    if file.path in GROUP_READERS:
        return [] if (file.owner, readers) == ("root", 0o040) and file.group != "root" else [f"{file.path}: {file.owner}, {file.mode:o}"]
    return [f"{file.path}: {file.mode:o}"] if readers else []


def _secrets_in(text: str) -> set[str]:
    """What looks like a secret and is no placeholder."""
    text = PLACEHOLDER.sub("$placeholder", text)
    return {found for pattern in SECRETS for found in pattern.findall(text)} - NO_SECRETS


@pytest.mark.parametrize("stack", [*FIRST_OF_EACH_ROLE, *SINGLE_SERVERS])
def test_servers_hold_the_committed_files(stack: str, in_project: Path, update_golden: bool) -> None:
    folder = GOLDEN / stack.replace("/", "-")
    expected = {f"{name}/{path}": text for name, each in _committed(stack).items() for path, text in rendered(each).items()}
    found = {str(path.relative_to(folder)): path for path in folder.rglob("*") if path.is_file()}
    if update_golden:
        for left_over in found.keys() - expected.keys():
            found[left_over].unlink()
        for path, text in expected.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(text, encoding="utf-8")
        return
    differing = [path for path in found.keys() & expected.keys() if found[path].read_text(encoding="utf-8") != expected[path]]
    wrong = {"changed": sorted(differing), "new": sorted(expected.keys() - found.keys()), "gone": sorted(found.keys() - expected.keys())}

    assert not any(wrong.values()), f"{stack}: read the difference, then run pytest --update-golden: {wrong}"


def test_no_golden_server_is_left_over(in_project: Path) -> None:
    expected = {(stack.replace("/", "-"), name) for stack in (*FIRST_OF_EACH_ROLE, *SINGLE_SERVERS) for name in _committed(stack)}

    assert {(path.parent.name, path.name) for path in GOLDEN.glob("*/*")} == expected


@pytest.mark.parametrize("stack", STACKS)
def test_paths_are_absolute_and_written_once(stack: str, in_project: Path) -> None:
    for name, configuration in _configurations(stack).items():
        paths = Counter(file.path for file in configuration.files)

        assert [path for path, count in paths.items() if count > 1] == [], name
        assert [path for path in paths if not path.startswith("/") or str(PurePosixPath(path)) != path or ".." in path] == [], name
        assert paths.keys().isdisjoint(path for service in configuration.services for path in service.absent), name


@pytest.mark.parametrize("stack", STACKS)
def test_every_owner_exists_before_its_files(stack: str, in_project: Path) -> None:
    for name, configuration in _configurations(stack).items():
        known = {"root"}
        for service in configuration.services:
            known |= {account for account, packages in PACKAGE_ACCOUNTS.items() if packages & {*service.packages}}
            wanted = {group for account in service.accounts for group in account.groups}
            known |= {account.name for account in service.accounts}
            wanted |= {owner for file in service.files for owner in (file.owner, file.group)}
            wanted |= {owner for directory in service.directories for owner in (directory.owner, directory.group)}

            assert wanted - known == set(), f"{name}: {service.name}"


@pytest.mark.parametrize("stack", STACKS)
def test_only_who_needs_a_secret_reads_its_file(stack: str, in_project: Path) -> None:
    files = [file for configuration in _configurations(stack).values() for file in configuration.files]

    assert [problem for file in files for problem in _mode_problems(file)] == []


def test_every_exception_for_a_group_is_needed(in_project: Path) -> None:
    files = [file for stack in STACKS for configuration in _configurations(stack).values() for file in configuration.files]

    assert {file.path for file in files if file.is_secret and file.mode & 0o070} == GROUP_READERS.keys()


@pytest.mark.parametrize(
    "file",
    [
        HostFile(path="/etc/secret", content=secret("one"), mode=0o644),
        HostFile(path="/etc/secret", content="${tls:key}", group="redis", mode=0o640),
        HostFile(path="/etc/redis/redis.conf", content=secret("one"), owner="redis", group="redis", mode=0o640),
        HostFile(path="/etc/redis/redis.conf", content=secret("one"), group="redis", mode=0o660),
        HostFile(path="/etc/redis/redis.conf", content=secret("one"), mode=0o640),
    ],
)
def test_a_secret_that_others_read_is_seen(file: HostFile) -> None:
    assert len(_mode_problems(file)) == 1


@pytest.mark.parametrize("stack", STACKS)
def test_no_secret_is_in_a_rendered_file(stack: str, in_project: Path) -> None:
    for name, configuration in _configurations(stack).items():
        found = {path: secrets for path, text in rendered(configuration).items() if (secrets := _secrets_in(text))}

        assert found == {}, name


@pytest.mark.parametrize(
    "text",
    [
        "requirepass: hunter2",
        "repo1-cipher-pass=horse battery",
        '{"password": "hunter2"}',
        "user default on >kJ8sLw02mQpXz71NbVtY",
        "key 00112233445566778899aabbccddeeff",
        "url = https://grafana:hunter2@127.0.0.1/",
        "-----BEGIN PRIVATE KEY-----",
    ],
)
def test_a_secret_in_a_file_is_seen(text: str) -> None:
    assert len(_secrets_in(text)) == 1


def test_a_placeholder_is_no_secret() -> None:
    assert _secrets_in(f"password = {secret('redis')}\nhttps://user:{secret('redis')}@host/") == set()


def test_a_stack_is_written_server_by_server(tmp_path: Path, in_project: Path) -> None:
    written = write_stack("lean/phase2", tmp_path / "new")

    assert {path.relative_to(tmp_path / "new").parts[0] for path in written} == set(_configurations("lean/phase2"))
    assert {path for path in tmp_path.rglob("*") if path.is_file()} == set(written)
    golden = GOLDEN / "lean-phase2/app-eu-1/server.json"
    assert (tmp_path / "new/app-eu-1/server.json").read_text() == golden.read_text()


def test_nothing_is_written_over_something_else(tmp_path: Path, in_project: Path) -> None:
    (tmp_path / "mine").write_text("mine")

    for place in (tmp_path, tmp_path / "mine"):
        with pytest.raises(RungwayError, match=f"^{re.escape(str(place))}: found a file, or a folder with something in it; allowed: "):
            write_stack("mvp", place)
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]
    assert (tmp_path / "mine").read_text() == "mine"


@pytest.mark.parametrize(
    ("place", "found"), [("file/new", "Not a directory"), ("dangling", "File exists"), ("x" * 300, "File name too long")]
)
def test_a_place_that_can_t_be_written_to_is_named(tmp_path: Path, in_project: Path, place: str, found: str) -> None:
    (tmp_path / "file").write_text("mine")
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")

    with pytest.raises(RungwayError, match=f"^{re.escape(str(tmp_path / place))}: can't write the servers' files: found '{found}' at "):
        write_stack("mvp", tmp_path / place)
    assert {path.name for path in tmp_path.iterdir()} == {"file", "dangling"}


@pytest.mark.parametrize("was_there", [True, False])
@pytest.mark.parametrize("failure", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()])
def test_a_folder_half_written_is_emptied_again(
    tmp_path: Path, in_project: Path, monkeypatch: pytest.MonkeyPatch, failure: BaseException, was_there: bool
) -> None:
    """Else the next attempt would find a folder with something in it."""
    place = tmp_path / "place"
    if was_there:
        place.mkdir()
    written: list[Path] = []

    def fills_the_disk(path: Path, text: str, encoding: str) -> None:
        if len(written) == 5:
            raise failure
        path.write_bytes(text.encode(encoding))
        written.append(path)

    monkeypatch.setattr(Path, "write_text", fills_the_disk)
    with pytest.raises(RungwayError if isinstance(failure, OSError) else KeyboardInterrupt):
        write_stack("mvp", place)
    assert (len(written), [*tmp_path.rglob("*")]) == (5, [place] if was_there else [])


def test_files_are_the_same_in_every_locale(tmp_path: Path) -> None:
    """Templates are UTF-8; a locale of another encoding must not decide what is written."""
    environment = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    command = [sys.executable, "-m", "rungway", "render", "mvp", str(tmp_path / "new")]
    subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, check=True)

    for file in _configurations("mvp")["app-eu-1"].files:
        assert (tmp_path / "new/app-eu-1" / file.path.lstrip("/")).read_bytes() == file.content.encode()


def test_an_unknown_stack_writes_nothing(tmp_path: Path, in_project: Path) -> None:
    with pytest.raises(RungwayError, match="stack 'phase9'"):
        write_stack("phase9", tmp_path / "new")
    assert not (tmp_path / "new").exists()
