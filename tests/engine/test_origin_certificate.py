"""Cloudflare's certificate for the servers, by the real engine and provider; a loopback server stands for Cloudflare's API."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from rungway.rehearsal.outside import RehearsalAuthority

pytestmark = pytest.mark.skipif(
    shutil.which("pulumi") is None and not os.environ.get("RUNGWAY_REQUIRE_ENGINE"),
    reason="no Pulumi CLI on PATH; set RUNGWAY_REQUIRE_ENGINE=1 to make this a failure",
)

ROOT = Path(__file__).resolve().parents[2]
TIMEOUT_SECONDS = 300
PROGRAM = """\
import pulumi
from components.origin_certificate import OriginCertificate

secret = pulumi.Config().require_secret("authority")
made = OriginCertificate("origin-certificate", {"hostnames": ["api.example.com"], "authority_secret": secret})
pulumi.export("certificate", made.certificate)
"""


class Cloudflare(ThreadingHTTPServer):
    """Answers as its API's reference says (developers.cloudflare.com/api/resources/origin_ca_certificates), and keeps what it was asked."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.authority = RehearsalAuthority()
        self.certificates: dict[str, dict[str, Any]] = {}
        self.asked: list[str] = []


class _Handler(BaseHTTPRequestHandler):
    server: Cloudflare

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        made = {"id": f"made-{len(self.server.asked)}", "certificate": self.server.authority.answer(body["csr"]), **body}
        self.server.certificates[made["id"]] = made | {"expires_on": "2041-11-17 00:00:00 +0000 UTC"}
        self._answer("made " + made["id"], self.server.certificates[made["id"]])

    def do_GET(self) -> None:
        name = self.path.rpartition("/")[2]
        self._answer(f"read {name}", {key: value for key, value in self.server.certificates[name].items() if key != "csr"})

    def do_DELETE(self) -> None:
        name = self.path.rpartition("/")[2]
        self._answer(f"revoked {name}", {"id": name})

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: what counts is in `asked`."""

    def _answer(self, said: str, result: dict[str, Any]) -> None:
        self.server.asked.append(said)
        text = json.dumps({"success": True, "errors": [], "messages": [], "result": result}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)


@pytest.fixture
def cloudflare() -> Iterator[Cloudflare]:
    with Cloudflare() as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


class Project:
    """A program of its own, with a state of its own."""

    def __init__(self, folder: Path, api: str) -> None:
        self._folder = folder
        self._environment = {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "PULUMI_BACKEND_URL": (folder / "state").as_uri(),
            "PULUMI_CONFIG_PASSPHRASE": "throw-away",
            "PULUMI_SKIP_UPDATE_CHECK": "true",
        }
        (folder / "state").mkdir()
        (folder / "__main__.py").write_text(PROGRAM)
        (folder / "Pulumi.yaml").write_text(
            f"name: origin\nruntime: {{name: python, options: {{virtualenv: {sys.prefix}}}}}\n", encoding="utf-8"
        )
        self.pulumi("stack", "init", "test")
        self.pulumi("config", "set", "cloudflare:baseUrl", api)
        self.pulumi("config", "set", "cloudflare:apiToken", "rungwayplaceholder".ljust(40, "0"))

    def up(self, secret: str, *options: str) -> str:
        """Bring it up with this secret, and return the certificate."""
        self.pulumi("config", "set", "--secret", "authority", secret)
        self.pulumi("up", "--yes", "--skip-preview", *options)
        return self.pulumi("stack", "output", "certificate").strip()

    def state(self) -> str:
        """Everything that the engine has kept."""
        return "".join(path.read_text() for path in (self._folder / "state").rglob("*.json"))

    def pulumi(self, *words: str) -> str:
        command = ["pulumi", *words, "--non-interactive"]
        done = subprocess.run(
            command, cwd=self._folder, env=self._environment, capture_output=True, text=True, timeout=TIMEOUT_SECONDS, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


def test_it_is_made_once_stays_through_a_refresh_and_is_revoked_after_its_successor_is_there(
    cloudflare: Cloudflare, tmp_path: Path
) -> None:
    project = Project(tmp_path, f"http://127.0.0.1:{cloudflare.server_port}/client/v4")

    first = project.up("first-secret")
    assert first == cloudflare.certificates["made-0"]["certificate"].strip()
    assert project.up("first-secret", "--expect-no-changes", "--refresh") == first
    second = project.up("second-secret")

    assert second != first
    assert cloudflare.asked == ["made made-0", "read made-0", "made made-2", "revoked made-0"]
    for hidden in ("first-secret", "second-secret", "PRIVATE KEY"):
        assert hidden not in project.state()
