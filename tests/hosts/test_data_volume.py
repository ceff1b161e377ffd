"""The volume is mounted when it is found, and the boot does not wait for it: what writes to it has to."""

import re
from collections import defaultdict
from pathlib import Path

import pytest

from hosts.render import host_configuration
from hosts.specification import HostSpecification
from infra.host_specifications import host_specifications
from infra.reading import read_settings
from infra.stack_file import engine_config, read_stack_file
from rungway.stacks import find_stack

ROOT = Path(__file__).resolve().parents[2]


def _units(host: HostSpecification) -> dict[str, str]:
    """Each unit that a server's files are about, with everything that they say of it but comments."""
    units: dict[str, str] = defaultdict(str)
    for file in host_configuration(host).files:
        found = re.fullmatch(r"/etc/systemd/system/([^/]+\.service)(\.d/[^/]+)?", file.path)
        if found:
            units[found[1]] += re.sub(r"(?m)^#.*", "", file.content)
    return units


@pytest.mark.parametrize("stack_name", ["phase2", "phase3", "vps/phase4"])
def test_whatever_writes_to_the_data_volume_waits_for_it(stack_name: str) -> None:
    stack = find_stack(stack_name, ROOT)
    config, _ = engine_config(read_stack_file(stack.path))
    settings, _ = read_settings(config, source=stack.name, require_user_values=False)
    hasty = {
        f"{host.name}: {unit}"
        for host in host_specifications(settings)
        for unit, said in _units(host).items()
        if host.data_mount and re.search(rf"(ReadWritePaths|ExecStart)=.*{host.data_mount}/", said)
        if not re.search(rf"(RequiresMountsFor=.*|ConditionPathIsMountPoint=){host.data_mount}", said)
    }

    assert hasty == set()
