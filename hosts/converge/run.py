"""Converges one server from here: connects with pyinfra, sends the agent and the request, and says what happened."""

import getpass
import json
import logging
import os
import socket
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from hosts.configuration import HostConfiguration, HostFile, Service
from hosts.converge.request import Change, Connection, Request, Result, ServiceResult
from hosts.secrets import fill_in

CONNECT_PAUSE_SECONDS = 2.0
KEEPALIVE_SECONDS = 5
SILENCE_SECONDS = 90
"""A connection whose other end takes nothing for so long has ended; Linux alone would wait for a quarter of an hour."""
BOOT_SECONDS = 600
"""How long cloud-init may still be at work on a new server: packages are updated on the first boot."""


class ConvergeError(Exception):
    """A server that is not as asked. The text says which, at which service and step, what it said, and what to do."""


Run = Callable[[str, str], tuple[int, str, str]]
"""Runs a shell command as root on a server, with a text on its standard input: its exit status, standard output and standard error."""


def look_at(configuration: HostConfiguration, run: Run) -> Result:
    """What differs on the server that `run` reaches. Nothing is changed there.

    Raises:
        ConvergeError: it can't be looked at.
        MissingValueError: the configuration has placeholders left.
    """
    began = time.monotonic()
    filled = fill_in(configuration, secrets={}, addresses={})
    status, said, complained = run(_AGENT, "".join(f"{line}\n" for line in _agent_input(_question("look", configuration, filled))))
    answers = _answers(said.splitlines())
    if status and not any(answer["event"] == "busy" for answer in answers):
        raise ConvergeError(
            f"{configuration.name}: the agent could not run: {complained.strip() or f'exit status {status}, without a word'}"
        )
    return _result(configuration, answers, {}, began)


def converge(request: Request) -> Result:
    """Make the server what the request says.

    Raises:
        ConvergeError: it can't be reached or isn't as asked; whatever was under way is as it was before.
        MissingValueError: a secret or an address is not given.
    """
    began = time.monotonic()
    configuration, secrets = request.configuration, request.secrets
    filled = fill_in(configuration, secrets=secrets, addresses=request.addresses, public_addresses=request.public_addresses)
    try:
        answers = _ask(configuration.name, request.connection, _question("apply", configuration, filled))
    except ConvergeError as error:
        raise ConvergeError(_without(str(error), secrets)) from None
    return _result(configuration, answers, secrets, began)


def _question(mode: str, configuration: HostConfiguration, filled: HostConfiguration) -> dict[str, Any]:
    """What the agent is asked."""
    services = [_service(*pair) for pair in zip(configuration.services, filled.services, strict=True)]
    return {"mode": mode, "who": _who(), "services": services}


def _result(configuration: HostConfiguration, answers: list[dict[str, Any]], secrets: Mapping[str, str], began: float) -> Result:
    """What the agent's answers say.

    Raises:
        ConvergeError: they say that it went wrong, or not that it went well.
    """
    name = configuration.name
    services: list[ServiceResult] = []
    undone: list[str] = []
    for answer in answers:
        match answer["event"]:
            case "busy":
                raise ConvergeError(
                    f"{name}: another convergence is at work: {answer['message']}. Wait for it, or end it, and run this again."
                )
            case "failed":
                raise ConvergeError(_without(f"{name}: {answer['service']}: {answer['step']} failed:\n{answer['message']}", secrets))
            case "undone":
                undone.append(answer["service"])
            case _:
                changes = tuple(_change(change, secrets) for change in answer["changes"])
                services.append(ServiceResult(service=answer["service"], changes=changes, seconds=answer.get("seconds", 0.0)))
    if len(services) < len(configuration.services):
        raise ConvergeError(f"{name}: the connection ended half way. Run it again: it goes on with what is not done yet.")
    return Result(server=name, services=tuple(services), undone=tuple(undone), seconds=round(time.monotonic() - began, 3))


def _who() -> str:
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        # A container may run as a number that has no name.
        user = f"user {os.getuid()}"
    return f"{user} on {socket.gethostname()}"


def _change(change: dict[str, Any], secrets: Mapping[str, str]) -> Change:
    """A change as the agent says it. What is not secret any more may still hold a secret on the server."""
    now = change.get("now")
    return Change(kind=change["kind"], name=change["name"], now=None if now is None else _without(now, secrets))


def _service(rendered: Service, filled: Service) -> dict[str, Any]:
    """A service for the agent. What is secret is known from the rendered file: the filled one has no placeholders left."""
    request = asdict(filled)
    request["files"] = [_file(*pair) for pair in zip(rendered.files, filled.files, strict=True)]
    return request


def _file(rendered: HostFile, filled: HostFile) -> dict[str, Any]:
    return {**asdict(filled), "secret": rendered.is_secret}


def _without(text: str, secrets: Mapping[str, str]) -> str:
    """The text with the values of the secrets blotted out, should a program have repeated one."""
    for value in secrets.values():
        if value:
            text = text.replace(value, "[secret]")
    return text


_RUN_AGENT = "import json, sys; exec(compile(json.loads(sys.stdin.readline()), 'rungway-agent', 'exec'))"
_AGENT = f'python3 -I -c "{_RUN_AGENT}"'
_BOOTED = f"timeout {BOOT_SECONDS} cloud-init status --wait >/dev/null 2>&1 || test $? -eq 2 || ! command -v cloud-init >/dev/null"
"""Waits for the first boot. 2 means done, with errors that cloud-init could go on from."""


def _ask(name: str, connection: Connection, question: dict[str, Any]) -> list[dict[str, Any]]:
    """Run the agent on the server; its answers."""
    # Here, because pyinfra takes half a second to import and most commands never connect.
    from paramiko import SSHException
    from pyinfra.api.arguments import ConnectorArguments
    from pyinfra.api.command import StringCommand

    with _client_configuration(connection) as config_file:
        host = _connected(name, connection, config_file)
    try:
        booted, output = host.run_shell_command(StringCommand(_BOOTED), _timeout=BOOT_SECONDS + 30)
        if not booted:
            raise ConvergeError(
                f"{name}: cloud-init did not end well: `cloud-init status --long` on the server says why. {output.stderr}".strip()
            )
        # Asked first: pyinfra would ask for a password, which nobody can give.
        if not host.run_shell_command(StringCommand("sudo --non-interactive true 2>/dev/null"))[0]:
            raise ConvergeError(
                f"{name}: {connection.user} can't become root without a password; needed: NOPASSWD in its sudo rule, which the first boot "
                "makes."
            )
        arguments = ConnectorArguments(_sudo=True, _stdin=_agent_input(question))
        done, output = host.run_shell_command(StringCommand(_AGENT), **arguments)
        crashed = not done and host.connector.client.get_transport().is_active()
    except (OSError, EOFError, SSHException) as error:
        raise ConvergeError(
            f"{name}: the connection ended half way ({error}). Run it again: it goes on with what is not done yet."
        ) from None
    finally:
        host.disconnect()
    answers = _answers(output.stdout_lines)
    if crashed and not any(answer["event"] in ("busy", "failed") for answer in answers):
        raise ConvergeError(f"{name}: the agent could not run:\n{output.stderr}")
    return answers


def _agent_input(question: dict[str, Any]) -> list[str]:
    """What the agent's command reads: the agent itself and the question, a line each."""
    source = Path(__file__).with_name("agent.py").read_text(encoding="utf-8")
    return [json.dumps(source), json.dumps(question)]


def _answers(lines: Iterable[str]) -> list[dict[str, Any]]:
    # A connection that ends may end within a line.
    return [json.loads(line) for line in lines if line.startswith("{") and line.endswith("}")]


@contextmanager
def _client_configuration(connection: Connection) -> Iterator[Path | None]:
    """The OpenSSH client configuration to connect with: through a jump host one of its own, which is gone when the connection stands."""
    if connection.jump_address is None:
        yield connection.config_file
        return
    lines = [f"Host {connection.address}", f"  ProxyJump {connection.jump_address}"]
    lines += ["Host *", f"  User {connection.user}", "  StrictHostKeyChecking accept-new"]
    if connection.key_file:
        lines.append(f'  IdentityFile "{connection.key_file.expanduser()}"')
    if connection.known_hosts_file:
        lines.append(f"  UserKnownHostsFile {connection.known_hosts_file.expanduser()}")
    with tempfile.NamedTemporaryFile("w", prefix="rungway-", suffix=".ssh-config") as file:
        file.write("\n".join(lines) + "\n")
        file.flush()
        yield Path(file.name)


def _connected(name: str, connection: Connection, config_file: Path | None) -> Any:
    """A pyinfra host with an open connection."""
    from pyinfra.api.config import Config
    from pyinfra.api.exceptions import ConnectError, PyinfraError
    from pyinfra.api.inventory import Inventory
    from pyinfra.api.state import State

    # Their warnings, and tracebacks of what is caught here, would stand before the one error.
    for library in ("pyinfra", "paramiko"):
        logging.getLogger(library).setLevel(logging.CRITICAL)
    data = {
        "ssh_hostname": connection.address,
        "ssh_user": connection.user,
        "ssh_port": connection.port,
        "ssh_key": str(connection.key_file) if connection.key_file else None,
        "ssh_config_file": str(config_file) if config_file else None,
        "ssh_known_hosts_file": str(connection.known_hosts_file) if connection.known_hosts_file else None,
        "ssh_strict_host_key_checking": "accept-new",
    }
    known = {key: value for key, value in data.items() if value is not None}
    if connection.known_hosts_file:
        # The first connection from a machine writes the file.
        try:
            connection.known_hosts_file.expanduser().parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        except (OSError, RuntimeError) as error:
            raise ConvergeError(
                f"{name}: can't keep host keys in {connection.known_hosts_file}: {error}. Needed: a home directory to write to (HOME)."
            ) from None
    state = State(Inventory(([(name, known)], {})), Config(CONNECT_TIMEOUT=10))  # type: ignore[no-untyped-call]
    host = state.inventory.get_host(name)
    end = time.monotonic() + connection.patience_seconds
    while True:
        try:
            host.connect(raise_exceptions=True)
            # The jump host may be given its firewall while this waits. Its connections are known to it again once something is sent.
            connector: Any = host.connector
            _notice_silence(connector.client.get_transport())
            return host
        except ConnectError as error:
            # A wrong key stays wrong; a server that boots answers later.
            if "host key" in str(error):
                raise ConvergeError(f"{name}: {error}. {_how_to_forget(connection)}") from None
            if "Authentication" in str(error) or time.monotonic() > end:
                raise ConvergeError(
                    f"{name}: no SSH connection to {connection.user}@{connection.address}:{connection.port}: {error}. Allowed: the key of "
                    "an administrator in ssh_public_keys, from a network in admin_cidrs; private servers are reached through the jump host."
                ) from None
            time.sleep(CONNECT_PAUSE_SECONDS)
        except PyinfraError as error:
            raise ConvergeError(f"{name}: can't use the private key {connection.key_file}: {error}") from None


def _notice_silence(transport: Any) -> None:
    """Something is sent all the time, and when the other end takes none of it, the connection ends."""
    transport.set_keepalive(KEEPALIVE_SECONDS)
    # A connection through a jump host goes through a channel of the connection to that.
    while hasattr(transport.sock, "get_transport"):
        transport = transport.sock.get_transport()
        transport.set_keepalive(KEEPALIVE_SECONDS)
    # Linux has it; elsewhere, and with a ProxyCommand, other limits hold.
    option = getattr(socket, "TCP_USER_TIMEOUT", None)
    if option is not None and isinstance(transport.sock, socket.socket):
        transport.sock.setsockopt(socket.IPPROTO_TCP, option, SILENCE_SECONDS * 1000)


def _how_to_forget(connection: Connection) -> str:
    host = connection.address if connection.port == 22 else f"[{connection.address}]:{connection.port}"
    file = f" -f {connection.known_hosts_file}" if connection.known_hosts_file else ""
    return f"It is another server, or someone in between. If it was made anew, forget its old key: ssh-keygen -R {host}{file}"
