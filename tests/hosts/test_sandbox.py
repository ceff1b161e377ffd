"""The sandbox of our own units, as systemd itself rates it."""

import shutil
import subprocess
from pathlib import Path

import pytest

from hosts.sandbox import DENIED, Network, sandbox


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
