"""The kernel's parameters: hardening and tuning in one file, which works in a container too, and a probe that looks at the result."""

import subprocess
from pathlib import Path

import pytest

from hosts.services import kernel as module
from hosts.services.kernel import HARDENING, kernel, kernel_parameters
from hosts.tuning import SYSCTL, tuned
from tests.support.minimal_host import minimal_host


def test_hardening_and_tuning_are_in_one_file_and_nothing_is_said_twice() -> None:
    host = minimal_host()
    keys = [line.split(" = ")[0].removeprefix("-") for line in kernel(host).files[0].content.splitlines() if not line.startswith("#")]
    assert set(keys) == {*HARDENING, *tuned(SYSCTL, host), "net.ipv4.conf.*.rp_filter"}
    assert len(keys) == len(set(keys))
    assert not set(HARDENING) & set(tuned(SYSCTL, host)), "a parameter has one owner"


def test_a_parameter_that_can_not_be_set_is_no_failure_of_the_others() -> None:
    lines = [line for line in kernel(minimal_host()).files[0].content.splitlines() if not line.startswith("#")]
    assert lines
    assert all(line.startswith("-") for line in lines)


@pytest.mark.parametrize(
    ("role", "filter_mode"), [("app", "1"), ("database", "1"), ("kubernetes-worker", "2"), ("kubernetes-control", "2")]
)
def test_private_addresses_come_from_the_private_network_alone(role: str, filter_mode: str) -> None:
    assert kernel_parameters(minimal_host(role=role))["net.ipv4.conf.*.rp_filter"] == filter_mode


def test_modules_of_a_disk_with_user_data_still_load() -> None:
    names = {line.split()[1] for line in kernel(minimal_host()).files[1].content.splitlines() if line.startswith("install")}
    assert {"sctp", "cramfs", "usb-storage"} <= names
    assert not names & {"vfat", "iso9660", "isofs", "ext4", "overlay", "nf_tables", "vxlan", "sr_mod", "squashfs", "tls"}


@pytest.mark.parametrize(
    ("container", "value", "code"),
    [(False, "1", 0), (False, "0", 1), (True, "0", 0), (False, None, 0)],
    ids=["taken", "not taken", "container", "unknown to this kernel"],
)
def test_the_probe_looks_at_what_the_kernel_took(
    container: bool, value: str | None, code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "HARDENING", {"kernel.dmesg_restrict": "1", "net.ipv4.conf.*.send_redirects": "0"})
    (tmp_path / "kernel").mkdir()
    if value is not None:
        (tmp_path / "kernel" / "dmesg_restrict").write_text(f"{value}\n")
    detect = tmp_path / "systemd-detect-virt"
    detect.write_text(f"#!/bin/sh\nexit {0 if container else 1}\n")
    detect.chmod(0o755)
    probe = kernel(minimal_host()).probe.replace("/proc/sys", str(tmp_path))
    done = subprocess.run(["bash", "-eu", "-c", probe], env={"PATH": f"{tmp_path}:/usr/bin:/bin"}, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (code, "kernel/dmesg_restrict is not 1\n" if code else "")
