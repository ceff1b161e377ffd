"""Where a rehearsal runs, what Docker is asked for it, and that its output and exit code are those of the container.

A program that stands for `docker` writes down what it is asked. tests/rehearsal has the real one.
"""

import io
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import pytest

from rungway.errors import RungwayError
from rungway.rehearsal import container
from rungway.rehearsal.container import (
    CODE,
    DOCKERFILE,
    LOCK,
    Rehearsal,
    build_context,
    exec_command,
    image_tag,
    lack_of_engine,
    lacks_here,
    rehearse_in_container,
    run_command,
    runs_in_container,
    take_down_container,
)
from rungway.rehearsal.machine import TOOLS
from rungway.stacks import Stack

MVP = Rehearsal(Stack("mvp", "mvp", Path("/home/me/project/Pulumi.mvp.yaml")), Path("/home/me/project"), 1, ("--role", "app", "--json"))


def test_the_image_is_what_it_was() -> None:
    assert (
        DOCKERFILE
        == """\
FROM debian:13
RUN apt-get update && \\
    apt-get install --yes --no-install-recommends ca-certificates python3-venv curl e2fsprogs iproute2 mmdebstrap mount \
nftables openssh-client systemd-container && \\
    rm -rf /var/lib/apt/lists/*
COPY requirements.lock /
RUN python3 -m venv /opt/rungway && /opt/rungway/bin/python -m pip install --no-cache-dir --require-hashes --requirement /requirements.lock
"""
    )


def test_every_program_of_a_rehearsal_is_in_the_image() -> None:
    assert set(TOOLS.values()) <= set(DOCKERFILE.split())


def test_the_container_is_started_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(container.NETWORK_VARIABLE, raising=False)

    assert run_command(MVP, "rungway-rehearsal:0123") == [
        "docker",
        "run",
        "--detach",
        "--rm",
        "--init",
        "--privileged",
        "--cgroupns=private",
        "--name=rungway-rehearsal-mvp",
        "--memory=2700m",
        "--mount=type=volume,source=rungway-cache,target=/var/cache/rungway",
        "--mount=type=volume,target=/var/lib/rungway-rehearsal",
        f"--mount=type=bind,source={CODE},target={CODE},readonly",
        "--mount=type=bind,source=/home/me/project,target=/home/me/project,readonly",
        "--workdir=/home/me/project",
        f"--env=PYTHONPATH={CODE}",
        "--env=PYTHONDONTWRITEBYTECODE=1",
        "rungway-rehearsal:0123",
        "sh",
        "-c",
        "for number in $(seq 0 255); do [ -e /dev/loop$number ] || mknod /dev/loop$number b 7 $number; done; exec sleep infinity",
    ]


def test_the_rehearsal_in_the_container_is_the_command_that_was_asked_for() -> None:
    assert exec_command(MVP, *MVP.options) == [
        "docker",
        "exec",
        "rungway-rehearsal-mvp",
        "/opt/rungway/bin/python",
        "-m",
        "rungway",
        "rehearse",
        "mvp",
        "--role",
        "app",
        "--json",
    ]


def test_a_stack_file_elsewhere_is_mounted_and_named_by_its_path() -> None:
    elsewhere = Rehearsal(Stack("../other/Pulumi.mine.yaml", "mine", Path("/home/me/other/Pulumi.mine.yaml")), CODE, 1)

    assert "--mount=type=bind,source=/home/me/other,target=/home/me/other,readonly" in run_command(elsewhere, "image")
    assert exec_command(elsewhere)[-1] == "/home/me/other/Pulumi.mine.yaml"
    assert elsewhere.container.startswith("rungway-rehearsal-mine-")


def test_the_network_is_another_one_when_that_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(container.NETWORK_VARIABLE, "none")

    assert "--network=none" in run_command(MVP, "image")


def test_the_image_is_another_one_when_the_lock_is() -> None:
    assert image_tag(b"a") != image_tag(b"b")
    assert image_tag(b"a") == image_tag(b"a")


def test_the_image_is_built_of_its_recipe_and_the_lock_alone() -> None:
    with tarfile.open(fileobj=io.BytesIO(build_context(b"a lock"))) as archive:
        found = {entry.name: archive.extractfile(entry) for entry in archive}
        assert {name: file.read().decode() for name, file in found.items() if file} == {
            "Dockerfile": DOCKERFILE,
            "requirements.lock": "a lock",
        }


@pytest.mark.parametrize(
    ("platform", "user", "programs", "lacks"),
    [
        ("linux", 0, [*TOOLS], []),
        ("linux", 0, ["apt-get"], []),
        ("linux", 1000, [*TOOLS], ["found a user without root's rights"]),
        ("linux", 0, [tool for tool in TOOLS if tool != "mmdebstrap"], ["found no Debian or Ubuntu, and not: mmdebstrap"]),
        ("darwin", 501, [], ["found darwin; needed: Debian or Ubuntu"]),
    ],
)
def test_a_machine_that_cannot_boot_servers_is_known(
    monkeypatch: pytest.MonkeyPatch, platform: str, user: int, programs: list[str], lacks: list[str]
) -> None:
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setattr(os, "geteuid", lambda: user)
    monkeypatch.setattr(shutil, "which", lambda tool, **_: tool if tool in programs else None)

    assert lacks_here() == lacks


class _Docker:
    """A program that stands for `docker`, for what it is asked and what its exit codes become."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._log = folder / "asked"
        self._log.touch()
        self._answers = folder / "answers"
        self._answers.mkdir()
        program = folder / "bin" / "docker"
        program.parent.mkdir()
        program.write_text(f"""#!/bin/sh
[ "$1" = build ] && cat > /dev/null
printf '%s\\n' "$*" >> {self._log}
case "$*" in *" --down") answer=down ;; *) answer=$1 ;; esac
[ ! -e {self._answers}/$answer ] || . {self._answers}/$answer
""")
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
        self.answer("info", "echo 'linux [name=seccomp,profile=builtin]'")
        self._up = folder / "up"
        self.answer("container", f"case $2 in inspect) [ -e {self._up} ] ;; rm) rm {self._up} ;; esac")
        self.answer("run", f"touch {self._up}; echo 4f0c1d")

    def start(self) -> None:
        """Have a container up."""
        self._up.touch()

    def up(self) -> bool:
        """Whether there is one."""
        return self._up.exists()

    def answer(self, command: str, script: str) -> None:
        """What it does for a command; without one it succeeds."""
        (self._answers / command).write_text(f"{script}\n")

    def asked(self) -> list[str]:
        """The commands that it was asked, by their first two words and the last."""
        return [" ".join([*words[:2], words[-1]]) for line in self._log.read_text().splitlines() if (words := line.split())]


@pytest.fixture
def docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> _Docker:
    monkeypatch.chdir(CODE)
    monkeypatch.delenv(container.NETWORK_VARIABLE, raising=False)
    return _Docker(tmp_path, monkeypatch)


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.mark.parametrize(
    ("script", "lack"),
    [
        ("echo 'linux [name=seccomp,profile=builtin]'", ""),
        ("echo ' []'; echo 'Can not\n connect.' >&2; exit 1", "`docker info` failed: Can not connect."),
        ("echo ' []'; echo 'Can not connect.' >&2", "`docker info` failed: Can not connect."),
        ("exit 1", "`docker info` failed: without a word"),
        (
            "echo 'linux [name=seccomp,profile=builtin name=rootless]'",
            "found a rootless engine; needed: one that runs as root, because servers mount disks",
        ),
        ("echo 'windows []'", "found an engine for windows containers; needed: Linux"),
        ("exec sleep 60", "`docker info` gave no answer within 1 s"),
    ],
)
def test_what_the_engine_lacks_is_said(docker: _Docker, monkeypatch: pytest.MonkeyPatch, script: str, lack: str) -> None:
    monkeypatch.setattr(container, "DOCKER_SECONDS", 1)
    docker.answer("info", script)

    assert lack_of_engine() == lack


def test_a_machine_that_can_neither_is_told_both(monkeypatch: pytest.MonkeyPatch, said: list[str]) -> None:
    monkeypatch.setattr(
        container, "lacks_here", lambda: ["found a user without root's rights", "found no Debian or Ubuntu, and not: mount"]
    )
    monkeypatch.setattr(shutil, "which", lambda *_, **__: None)
    with pytest.raises(RungwayError) as caught:
        runs_in_container(forced=False, say=said.append)

    assert str(caught.value) == (
        "rehearse: here: found a user without root's rights; found no Debian or Ubuntu, and not: mount; "
        "in a container: found no `docker` on PATH"
    )
    assert caught.value.hint == "become root on Debian or Ubuntu, or start a Docker engine (docs/rehearsal.md)"
    with pytest.raises(RungwayError, match=r"^rehearse: in a container: found no `docker` on PATH$"):
        runs_in_container(forced=True, say=said.append)
    assert said == []


def test_a_container_is_for_machines_that_need_one_or_when_asked_for(
    docker: _Docker, monkeypatch: pytest.MonkeyPatch, said: list[str]
) -> None:
    monkeypatch.setattr(container, "lacks_here", list)
    assert not runs_in_container(forced=False, say=said.append)
    assert docker.asked() == []
    assert runs_in_container(forced=True, say=said.append)
    assert said == []

    monkeypatch.setattr(container, "lacks_here", lambda: ["found a user without root's rights"])
    assert runs_in_container(forced=False, say=said.append)
    assert said == ["not on this machine itself (found a user without root's rights), so in a Docker container"]


@pytest.mark.parametrize("code", [0, 1, 137])
def test_the_exit_code_is_that_of_the_rehearsal(docker: _Docker, said: list[str], code: int) -> None:
    docker.answer("exec", f"exit {code}")
    docker.answer("down", "")

    assert rehearse_in_container("mvp", ["app"], keep=False, as_json=True, say=said.append) == code
    assert docker.asked() == [
        "container inspect rungway-rehearsal-mvp",
        f"image inspect {image_tag(LOCK.read_bytes())}",
        f"run --detach {container._START.split()[-1]}",
        "exec rungway-rehearsal-mvp --json",
        "container inspect rungway-rehearsal-mvp",
        "exec rungway-rehearsal-mvp --down",
        "container rm rungway-rehearsal-mvp",
    ]
    assert said == ["container rungway-rehearsal-mvp: bounded to 2700 MiB of memory, needs 4 GB of disk; the first time, a network"]


def test_the_report_alone_is_on_standard_output(docker: _Docker, said: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    docker.answer("image", "exit 1")
    docker.answer("build", "echo step 1")
    docker.answer("exec", "echo '{}'; echo progress >&2")
    docker.answer("down", "")
    rehearse_in_container("mvp", [], keep=False, as_json=True, say=said.append)

    out, err = capfd.readouterr()
    assert out == "{}\n"
    assert err == "step 1\nprogress\n"


def test_an_image_is_built_once_and_older_ones_are_removed(docker: _Docker, said: list[str]) -> None:
    tag = image_tag(LOCK.read_bytes())
    docker.answer("image", f'case "$2" in inspect) exit 1 ;; ls) echo rungway-rehearsal:old; echo {tag} ;; esac')
    rehearse_in_container("mvp", [], keep=False, as_json=False, say=said.append)

    assert f"building {tag}, once" in said
    built = docker.asked()[2:5]
    assert built == [f"build --tag={tag} -", "image ls {{.Repository}}:{{.Tag}}", "image rm rungway-rehearsal:old"]


def test_an_image_that_cannot_be_built_is_an_error_and_nothing_is_started(docker: _Docker, said: list[str]) -> None:
    docker.answer("image", "exit 1")
    docker.answer("build", "exit 17")
    with pytest.raises(RungwayError, match=r"^docker build: failed with exit code 17; what it said is above$"):
        rehearse_in_container("mvp", [], keep=False, as_json=False, say=said.append)

    assert docker.asked()[-1].startswith("build")


def test_a_container_that_does_not_start_is_an_error(docker: _Docker, said: list[str]) -> None:
    docker.answer("run", "echo 'invalid mount config' >&2; exit 125")
    with pytest.raises(RungwayError, match=r"^`docker run` failed with exit code 125: invalid mount config$"):
        rehearse_in_container("mvp", [], keep=False, as_json=False, say=said.append)

    assert docker.asked()[-1] == "container inspect rungway-rehearsal-mvp"


def test_a_container_whose_rehearsal_does_not_end_is_not_removed(docker: _Docker, said: list[str]) -> None:
    docker.answer("down", "exit 1")
    with pytest.raises(RungwayError, match=r"^container rungway-rehearsal-mvp: what it rehearses did not end; what it said is above$"):
        rehearse_in_container("mvp", [], keep=False, as_json=False, say=said.append)

    assert docker.up()


def test_a_container_that_someone_removed_is_gone(docker: _Docker, said: list[str], tmp_path: Path) -> None:
    docker.answer("down", f"rm {tmp_path}/up; exit 1")

    assert rehearse_in_container("mvp", [], keep=False, as_json=False, say=said.append) == 0


def test_a_kept_container_is_left_up_and_says_how_to_end_it(docker: _Docker, said: list[str]) -> None:
    rehearse_in_container("mvp", [], keep=True, as_json=False, say=said.append)

    assert docker.asked()[-1] == "exec rungway-rehearsal-mvp --keep"
    assert said[-1] == (
        "the container is left up: docker exec -it rungway-rehearsal-mvp bash; end it with `rungway rehearse mvp --container --down`"
    )


def test_a_container_that_is_up_is_neither_used_nor_removed(docker: _Docker, said: list[str]) -> None:
    docker.start()
    with pytest.raises(RungwayError, match=r"^container rungway-rehearsal-mvp: found one of a rehearsal that runs or was kept$") as caught:
        rehearse_in_container("mvp", [], keep=False, as_json=False, say=said.append)

    assert caught.value.hint == "`rungway rehearse mvp --container --down` ends it"
    assert docker.asked() == ["container inspect rungway-rehearsal-mvp"]


def test_taking_it_down_ends_the_rehearsal_before_its_container(docker: _Docker) -> None:
    take_down_container("mvp")
    assert docker.asked() == ["container inspect rungway-rehearsal-mvp"]

    docker.start()
    take_down_container("mvp")
    assert docker.asked()[2:] == ["exec rungway-rehearsal-mvp --down", "container rm rungway-rehearsal-mvp"]


def test_a_stack_or_role_that_is_not_there_is_refused_before_docker_is_asked(docker: _Docker, said: list[str]) -> None:
    with pytest.raises(RungwayError, match="mvp: found no server of the role redis; allowed: app"):
        rehearse_in_container("mvp", ["redis"], keep=False, as_json=False, say=said.append)

    assert docker.asked() == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_the_rehearsal_and_its_container(docker: _Docker, tmp_path: Path, number: signal.Signals) -> None:
    """The rehearsal in the container ends when it is told to by `--down`; until then its client goes on. What is half done is not kept."""
    docker.answer("exec", f"touch {tmp_path}/running; until [ -e {tmp_path}/told ]; do sleep 0.05; done; echo removed; exit 143")
    docker.answer("down", f"touch {tmp_path}/told")
    command = [sys.executable, "-m", "rungway", "rehearse", "mvp", "--container", "--keep"]
    with subprocess.Popen(command, cwd=CODE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        while not (tmp_path / "running").exists():
            assert process.poll() is None
            time.sleep(0.05)
        process.send_signal(number)
        out, err = process.communicate(timeout=60)

    assert process.returncode == 128 + number
    assert out == "removed\n"
    assert err.splitlines()[-1] == f"error: rehearsal: ended by {number.name}"
    assert docker.asked()[-2:] == ["exec rungway-rehearsal-mvp --down", "container rm rungway-rehearsal-mvp"]
