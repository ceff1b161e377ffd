"""An SSH server on the loopback interface that runs what it is asked on this machine, for tests of what connects to servers."""

import os
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import paramiko
import pytest
from paramiko.common import AUTH_FAILED, AUTH_SUCCESSFUL, OPEN_SUCCEEDED


class SshServer:
    """Serves until it is closed. `config_file` is a client configuration with which every host name leads here.

    Commands run with `environment` besides this process's own. With `breaks`, the connection breaks in place of a command.
    """

    def __init__(self, directory: Path, environment: Mapping[str, str]) -> None:
        self.asked: list[str] = []
        self.breaks = False
        self._environment = {**os.environ, **environment}
        self._host_key = paramiko.ECDSAKey.generate()
        user_key = directory / "key"
        self._user_key = paramiko.ECDSAKey.generate()
        self._user_key.write_private_key_file(str(user_key))
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.config_file = directory / "ssh_config"
        self.config_file.write_text(
            f"Host *\n  HostName 127.0.0.1\n  Port {self.port}\n  User admin\n  IdentityFile {user_key}\n  IdentitiesOnly yes\n"
            f"  UserKnownHostsFile {directory}/known_hosts\n  StrictHostKeyChecking accept-new\n"
        )
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Listen no more."""
        # A shutdown wakes the thread that waits for a connection; closing alone would not.
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listener.close()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            transport = paramiko.Transport(connection)
            transport.add_server_key(self._host_key)
            session = _Session(self._user_key)
            transport.start_server(server=session)
            channel = transport.accept(10)
            if channel is not None and session.requested.wait(10):
                self._answer(channel, session.command)
            transport.join(10)
            transport.close()

    def _answer(self, channel: paramiko.Channel, command: str) -> None:
        self.asked.append(command)
        if self.breaks:
            channel.get_transport().close()
            return
        # As sshd does: the user's shell gets the whole text.
        given = channel.makefile("rb").read()
        done = subprocess.run(["sh", "-c", command], env=self._environment, input=given, capture_output=True, check=False)
        channel.sendall(done.stdout)
        channel.sendall_stderr(done.stderr)
        channel.send_exit_status(done.returncode)
        channel.close()


class _Session(paramiko.ServerInterface):
    """Lets in the user `admin` with the one key, and notes the command."""

    def __init__(self, user_key: paramiko.PKey) -> None:
        self._user_key = user_key
        self.requested = threading.Event()
        self.command = ""

    def get_allowed_auths(self, username: str) -> str:
        return "publickey"

    def check_auth_publickey(self, username: str, key: paramiko.PKey) -> int:
        known = username == "admin" and key.asbytes() == self._user_key.asbytes()
        return AUTH_SUCCESSFUL if known else AUTH_FAILED

    def check_channel_request(self, kind: str, chanid: int) -> int:
        return OPEN_SUCCEEDED

    def check_channel_exec_request(self, channel: paramiko.Channel, command: bytes) -> bool:
        self.command = command.decode()
        self.requested.set()
        return True


@contextmanager
def server_with_sudo(directory: Path) -> Iterator[SshServer]:
    """A server whose sudo runs as who it is."""
    programs = directory / "programs"
    programs.mkdir()
    started = SshServer(directory, {"PATH": f"{programs}:{os.environ['PATH']}"})
    set_sudo(started, '[ "$1" = --non-interactive ] && shift && exec "$@"')
    yield started
    started.close()


def set_sudo(server: SshServer, body: str) -> None:
    """From now on the server's sudo is this shell script."""
    sudo = server.config_file.parent / "programs" / "sudo"
    sudo.write_text(f"#!/bin/sh\n{body}\n")
    sudo.chmod(0o755)


NO_NAME = "a" * 64
"""No name in DNS, and none that is asked for: a label has 63 characters at most."""

needs_client = pytest.mark.skipif(shutil.which("ssh") is None, reason="no OpenSSH client on this machine")
