"""The sandbox of our own units, as systemd itself rates it."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from hosts.configuration import HostConfiguration, HostFile
from hosts.sandbox import DENIED, Network, sandbox
from rungway.rehearsal.baseline import EXPOSURE_LIMIT, OUR_UNITS
from tests.support.debian_root import Command, DebianRoot, Step

UNCONFINED = {"rungway-observability.service": "it is a client of Docker's socket, and who has that is root"}
"""Units of ours that stay above the limit, and why."""


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="needs systemd-analyze")
@pytest.mark.parametrize(("network", "threshold"), [("none", 8), ("loopback", 14), ("any", 15)])
def test_systemd_rates_the_exposure_as_low(network: Network, threshold: int, tmp_path: Path) -> None:
    """From 0 (nothing is open) to 100: an unprotected unit of root has 96."""
    lines = sandbox(writable=("/var/lib/example",), network=network)
    assert _exposed(tmp_path, lines, threshold) == 0
    assert _exposed(tmp_path, lines[: len(DENIED) // 2], threshold) != 0


def _exposed(tmp_path: Path, lines: tuple[str, ...], threshold: int) -> int:
    unit = tmp_path / "example.service"
    unit.write_text("[Service]\nExecStart=/usr/bin/true\nDynamicUser=yes\n" + "\n".join(lines) + "\n")
    command = ["systemd-analyze", "security", "--offline=true", f"--threshold={threshold}", "--no-pager", str(unit)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert "Overall exposure level" in done.stdout, done.stderr
    assert "Unknown" not in done.stderr
    return done.returncode


def test_only_what_is_asked_for_is_open() -> None:
    closed = sandbox(network="none")
    assert "CapabilityBoundingSet=" in closed
    assert not [line for line in closed if line.startswith("ReadWritePaths=")]
    assert "PrivateNetwork=yes" in closed
    opened = sandbox(writable=("/srv/data", "-/var/cache/x"), network="loopback", capabilities=("CAP_NET_BIND_SERVICE",))
    assert "ReadWritePaths=/srv/data -/var/cache/x" in opened
    assert "AmbientCapabilities=CAP_NET_BIND_SERVICE" in opened
    assert "IPAddressDeny=any" in opened
    assert "IPAddressDeny=any" not in sandbox()


def test_every_line_has_a_reason_and_is_said_once() -> None:
    lines = [line for line, _ in DENIED]
    assert len(lines) == len(set(lines))
    assert all(reason for _, reason in DENIED)


def _units(configurations: dict[str, dict[str, HostConfiguration]]) -> dict[tuple[HostFile, ...], str]:
    """Every service of ours, with its file or drop-ins, each in all the variants that the stacks have."""
    found: dict[tuple[HostFile, ...], str] = {}
    for servers in configurations.values():
        for server in servers.values():
            files: dict[str, list[HostFile]] = {}
            for file in server.files:
                if unit := re.match(r"/etc/systemd/system/([^/]+\.service)(\.d/[^/]+)?$", file.path):
                    files.setdefault(unit[1], []).append(file)
            found |= {tuple(own): unit for unit, own in files.items() if OUR_UNITS.match(unit) and unit not in UNCONFINED}
    return found


def test_no_unit_of_ours_could_do_more_to_its_server_than_the_limit_says(
    configurations: dict[str, dict[str, HostConfiguration]], debian_root: DebianRoot
) -> None:
    units = _units(configurations)
    threshold = round(EXPOSURE_LIMIT * 10)
    rate = "systemd-analyze security --offline=yes --no-pager --threshold={} {} >/dev/null"
    steps = [Step(files=files, commands=(Command(unit, rate.format(threshold, unit)),)) for files, unit in units.items()]
    loose = HostFile(path="/etc/systemd/system/loose.service", content="[Service]\nExecStart=/bin/true\n")
    steps.append(Step(files=(loose,), commands=(Command("loose", rate.format(threshold, "loose.service")),)))

    *ours, found = debian_root.run(steps)

    stores = {"patroni.service", "postgresql@17-main.service", "etcd.service", "redis-server.service", "rungway-redis-snapshot.service"}
    assert stores <= set(units.values())
    assert [answer.name for answer in ours if answer.code] == []
    assert found.code != 0
