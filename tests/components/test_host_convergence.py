"""A server converges when something of it changes: in place, with secrets on standard input alone."""

from pathlib import Path
from typing import Any

import pulumi
import yaml

from components.data_volume import DataVolume
from components.host_convergence import COMMAND, HostConvergence
from rungway.diff import diff
from rungway.facts import forces_replacement
from rungway.model import SECRET, Action, Plan
from tests.support.built import Built, build

ROOT = Path(__file__).resolve().parents[2]


def _built(digest: str = "abc", server_id: str = "17") -> Built:
    def program() -> dict[str, Any]:
        volume = DataVolume("app-eu-1-data", {"provider": "hetzner", "location": "nbg1", "size_gb": 10, "server_id": "17"})
        first = HostConvergence("database-eu-1-configuration", {"server_id": "16", "request": "{}", "digest": "x"})
        asked = HostConvergence(
            "app-eu-1-configuration",
            {"server_id": server_id, "request": '{"password": "hidden"}', "digest": digest},
            pulumi.ResourceOptions(depends_on=[volume, first]),
        )
        return {"result": asked.result}

    return build(program)


def test_the_request_is_secret_and_nowhere_but_on_standard_input() -> None:
    built = _built()

    assert built.inputs("Command", "app-eu-1-configuration") == {
        "addPreviousOutputInEnv": False,
        "create": COMMAND,
        "update": COMMAND,
        "environment": {"RUNGWAY_SERVER_ID": "17", "RUNGWAY_CONFIGURATION_DIGEST": "abc"},
        "logging": "none",
        "stdin": SECRET,
    }
    assert built.outputs == {"result": SECRET}
    assert "hidden" not in repr(built.resources)


def test_a_changed_digest_and_another_server_are_updates_in_place() -> None:
    for after in (_built(digest="def"), _built(server_id="18")):
        result = diff(_plan(_built()), _plan(after))
        (change,) = [change for change in result.changes if change.action is not Action.SAME]

        assert (change.name, change.action) == ("app-eu-1-configuration", Action.UPDATE)
        assert not any(forces_replacement("command:local:Command", path) for path in change.changed)
    assert forces_replacement("command:local:Command", "triggers[0]")


def test_nothing_is_run_when_the_server_goes() -> None:
    assert "delete" not in _built().inputs("Command", "app-eu-1-configuration")


def test_it_waits_for_everything_inside_of_what_it_depends_on() -> None:
    assert sorted(_built().waits_for("Command", "app-eu-1-configuration")) == [
        "command:local:Command::database-eu-1-configuration",
        "hcloud:index/volume:Volume::app-eu-1-data",
        "hcloud:index/volumeAttachment:VolumeAttachment::app-eu-1-data-attachment",
    ]


def test_the_command_is_the_python_of_the_program_wherever_the_project_is() -> None:
    project = yaml.safe_load((ROOT / "Pulumi.yaml").read_text())

    assert "/" not in project["main"]
    assert COMMAND.split()[0] == f"../{project['runtime']['options']['virtualenv']}/bin/python"


def _plan(built: Built) -> Plan:
    return Plan("test", "mvp", "rungway", built.resources)
