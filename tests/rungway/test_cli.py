"""The command line as people and machines use it: exit codes, errors without tracebacks, pipes, interrupts, bad places."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
RUNGWAY = [sys.executable, "-m", "rungway"]


def _run(*arguments: str, folder: Path = ROOT, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **variables}
    return subprocess.run([*RUNGWAY, *arguments], cwd=folder, env=environment, capture_output=True, text=True, timeout=120, check=False)


def _stack(folder: Path, text: str, name: str = "test") -> str:
    path = folder / f"Pulumi.{name}.yaml"
    path.write_text(text, encoding="utf-8")
    return str(path)


MINIMAL = """\
config:
  rungway:regions: [{name: eu, location: nbg1}]
  rungway:app: {servers: 1, server_type: cx33}
"""


def test_a_plan_is_the_same_byte_for_byte() -> None:
    first, second = _run("plan", "phase2", PYTHONHASHSEED="1"), _run("plan", "phase2", PYTHONHASHSEED="2")

    assert first.returncode == 0
    assert first.stdout == second.stdout
    assert _run("plan", "phase2", "--json", PYTHONHASHSEED="1").stdout == _run("plan", "phase2", "--json", PYTHONHASHSEED="2").stdout


def test_json_says_what_the_documentation_promises() -> None:
    plan = json.loads(_run("plan", "mvp", "--json").stdout)

    assert plan["stack"] == "mvp"
    assert plan["monthly_cost"]["currency"] == "EUR"
    assert plan["monthly_cost"]["amount"] > 0
    assert plan["budget"] == {"amount": 30.0, "currency": "EUR"}
    server = next(resource for resource in plan["resources"] if resource["type"] == "hcloud:index/server:Server")
    assert server["inputs"]["userData"] == "[secret]"
    assert {"urn", "type", "name", "parent", "inputs", "protect", "ignore_changes", "dependencies", "monthly_cost"} <= set(server)


def test_a_diff_that_loses_data_ends_with_3_until_each_resource_is_allowed() -> None:
    refused = _run("diff", "phase2", "mvp", "--json")
    changes = json.loads(refused.stdout)["changes"]
    lost = [change["urn"] for change in changes if change["holds_data"] and change["action"] in ("delete", "replace")]
    allowed = _run("diff", "phase2", "mvp", *[word for urn in lost for word in ("--allow", urn)])

    assert refused.returncode == 3
    assert len(lost) == 5
    assert allowed.returncode == 0


def test_parts_that_are_not_built_are_named_and_end_with_4() -> None:
    done = _run("plan", "kubernetes/phase3")

    assert done.returncode == 4
    for part in ("distributed PostgreSQL (Citus)", "sharding over 32 shards", "Redis Cluster"):
        assert part in done.stdout


def test_a_phase_over_its_budget_is_an_error_that_names_the_largest_items(tmp_path: Path) -> None:
    done = _run("plan", _stack(tmp_path, MINIMAL + "  rungway:budget: {monthly_amount: 2, currency: EUR}\n"))

    assert done.returncode == 1
    assert "over the budget of 2.00 EUR" in done.stdout
    assert "app-eu-1" in done.stdout


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("config:\n\trungway:name: x\n", "YAML allows no tabs for indentation: use spaces"),
        ("config:\n  rungway:name: x\n  rungway:name: y\n", "found duplicate key"),
        ("- a\n", "found no mapping"),
        ("config:\n  rungway:apps: {}\n", "did you mean 'app'?"),
        (MINIMAL.replace("cx33", "cx333"), "did you mean 'cx33'?"),
        (f"{MINIMAL}  rungway:name: {'a' * 64}\n", "1 to 32 lower-case letters, digits and hyphens"),
        (f"{MINIMAL}  rungway:name: füße\n", "1 to 32 lower-case letters, digits and hyphens"),
        (f"{MINIMAL}  rungway:domain: füße.example\n", "xn--"),
    ],
)
def test_a_bad_stack_file_gets_one_clear_error(text: str, said: str, tmp_path: Path) -> None:
    done = _run("plan", _stack(tmp_path, text))

    assert done.returncode == 1
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_an_unknown_stack_names_the_nearest() -> None:
    done = _run("plan", "phase22")

    assert done.returncode == 1
    assert done.stderr.endswith("hint: did you mean 'phase2'?\n")


def test_a_phase_of_100_nodes_plans(tmp_path: Path) -> None:
    text = MINIMAL.replace("servers: 1", "servers: 100") + "  rungway:load_balancer: {enabled: true, type: lb31}\n"
    plan = json.loads(_run("plan", _stack(tmp_path, text), "--json").stdout)

    servers = [resource for resource in plan["resources"] if resource["type"] == "hcloud:index/server:Server"]
    groups = [resource for resource in plan["resources"] if resource["type"] == "hcloud:index/placementGroup:PlacementGroup"]
    assert len(servers) == 100
    assert len(groups) == 10


def test_output_into_a_closed_pipe_is_no_traceback() -> None:
    reader, writer = os.pipe()
    # Nobody reads any more, as when `head` has seen enough.
    os.close(reader)
    done = subprocess.run([*RUNGWAY, "cost", "mvp"], cwd=ROOT, stdout=writer, stderr=subprocess.PIPE, text=True, timeout=120, check=False)
    os.close(writer)

    # What a shell says of a program that the closed pipe ended.
    assert (done.returncode, done.stderr) == (141, "")


def test_without_a_standard_output_there_is_no_traceback() -> None:
    done = subprocess.run(
        ["sh", "-c", f"{sys.executable} -m rungway cost mvp >&-"], cwd=ROOT, stderr=subprocess.PIPE, text=True, timeout=120
    )

    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("form", [[], ["--json"]])
def test_output_onto_a_full_disk_is_one_line(form: list[str]) -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run([*RUNGWAY, "cost", "mvp", *form], cwd=ROOT, stdout=full, stderr=subprocess.PIPE, text=True, timeout=120)

    assert (done.returncode, done.stderr) == (
        1,
        "error: standard output: can't write: No space left on device; allowed: a place with room\n"
        "hint: send it somewhere else and run it again\n",
    )


def test_an_interrupt_at_the_very_beginning_is_one_word_too(tmp_path: Path) -> None:
    """While the program still loads what it needs: here something that never ends loading."""
    (tmp_path / "click.py").write_text(f"import pathlib, time\npathlib.Path({str(tmp_path / 'loading')!r}).touch()\ntime.sleep(60)\n")
    with subprocess.Popen(
        [*RUNGWAY, "check"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as process:
        while not (tmp_path / "loading").exists():
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        said, error = process.communicate(timeout=30)

    assert (process.returncode, said, error) == (130, "", "interrupted\n")


def test_ctrl_c_ends_with_130_and_one_word() -> None:
    # A job that a shell started in the background ignores Ctrl-C, and so would its children.
    process = subprocess.Popen(
        [*RUNGWAY, "check"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    time.sleep(2.5)
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=60)

    assert process.returncode == 130
    assert error.strip() == "interrupted"


def test_a_terminal_of_ascii_only_is_no_traceback() -> None:
    done = _run("plan", "mvp", PYTHONIOENCODING="ascii")

    assert done.returncode == 0
    assert "Traceback" not in done.stderr


def test_it_runs_without_a_home_and_from_a_folder_that_it_may_not_write(tmp_path: Path) -> None:
    tmp_path.chmod(0o555)
    environment = {key: value for key, value in os.environ.items() if key != "HOME"} | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [*RUNGWAY, "plan", "mvp"], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120, check=False
    )

    assert done.returncode == 0, done.stderr


def test_a_plan_touches_no_network(tmp_path: Path) -> None:
    """Every attempt to open a connection fails loudly in this process, and none is made."""
    guard = tmp_path / "sitecustomize.py"
    guard.write_text("import socket\ndef refuse(*_): raise AssertionError('a connection was tried')\nsocket.socket.connect = refuse\n")
    done = _run("plan", "phase2", PYTHONPATH=f"{tmp_path}:{ROOT}")

    assert done.returncode == 0, done.stderr


def test_a_plan_imports_only_the_providers_that_it_uses(tmp_path: Path) -> None:
    program = (
        "import sys; from rungway.planning import plan_stack; plan_stack(sys.argv[1]);"
        "print(sorted({name.split('.')[0] for name in sys.modules if name.startswith('pulumi_')}))"
    )
    stack = _stack(tmp_path, MINIMAL + "  rungway:edge: {enabled: false, tls: false}\n")
    done = subprocess.run([sys.executable, "-c", program, stack], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)

    assert done.stdout == "['pulumi_hcloud']\n", done.stderr


def test_without_a_pulumi_cli_the_engine_is_asked_for_politely() -> None:
    done = _run("plan", "mvp", "--engine", PATH="/nowhere")

    assert done.returncode == 1
    assert done.stderr.startswith("error: pulumi: not found on PATH")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts(shell: str) -> None:
    assert "_RUNGWAY_COMPLETE" in _run("completion", shell).stdout


def test_stack_names_are_completed() -> None:
    done = _run(_RUNGWAY_COMPLETE="bash_complete", COMP_WORDS="rungway plan vps/", COMP_CWORD="2")

    assert "vps/phase3" in done.stdout


def test_check_names_every_stack_and_ends_with_1_when_one_is_wrong(tmp_path: Path) -> None:
    good, bad = _run("check", "mvp", "phase2"), _run("check", "mvp", _stack(tmp_path, MINIMAL.replace("nbg1", "nbg9")))

    assert (good.returncode, good.stdout) == (0, "mvp: ok\nphase2: ok\n")
    assert bad.returncode == 1
    assert "did you mean 'nbg1'?" in bad.stdout
