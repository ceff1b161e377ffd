"""The world around the servers: a name server, an object store that speaks S3, and a certificate authority that speaks ACME.

All real programs from Debian's packages, in a namespace of their own. None of them proves how the providers' own services behave.
"""

import datetime
import json
import os
import signal
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from hosts.secrets import key_usage
from rungway.errors import RungwayError
from rungway.rehearsal.network import OUTSIDE, OUTSIDE_V6, Network
from rungway.rehearsal.roots import Overlay, remove_root, run

STORAGE_HOST = "storage.rehearsal.test"
ACME_HOST = "acme.rehearsal.test"
ACME_DIRECTORY = f"https://{ACME_HOST}:14000/dir"
AUTHORITY_FILE = "usr/local/share/ca-certificates/rehearsal.crt"
START_SECONDS = 30


class Outside:
    """Everything that a rehearsed phase expects of the internet. `directory` holds its root, whose layers are `layers`."""

    def __init__(self, network: Network, directory: Path, layers: list[Path]) -> None:
        self._network = network
        self._disk = Overlay(layers, directory)
        self._directory = directory
        self._processes: list[subprocess.Popen[bytes]] = []

    @property
    def root(self) -> Path:
        """Its file system."""
        return self._disk.root

    def start(self, hosts: Mapping[str, str], certificate: bytes, key: bytes) -> None:
        """Start every service. `hosts` are the public names of the phase with their addresses; the certificate is for our own names."""
        self._disk.mount()
        for system in ("dev", "proc"):
            run(["mount", "--bind", f"/{system}", str(self.root / system)])
        configuration = self.root / "srv/outside"
        configuration.mkdir(parents=True)
        (configuration / "server.crt").write_bytes(certificate)
        (configuration / "server.key").write_bytes(key)
        (configuration / "pebble.json").write_text(json.dumps(_PEBBLE))
        (configuration / "storage.py").write_text(_STORAGE)
        names = {STORAGE_HOST: (OUTSIDE, OUTSIDE_V6), ACME_HOST: (OUTSIDE, OUTSIDE_V6), **{name: (to,) for name, to in hosts.items()}}
        records = [f"--address=/{name}/{address}" for name, addresses in names.items() for address in addresses]
        self._spawn("dnsmasq", ["dnsmasq", "--keep-in-foreground", "--no-resolv", "--no-hosts", "--no-daemon", "--user=root", *records])
        workers = ["gunicorn", "--workers", "1", "--threads", "8", "--timeout", "120", "--chdir", "/srv/outside"]
        tls = ["--certfile", "/srv/outside/server.crt", "--keyfile", "/srv/outside/server.key"]
        self._spawn("storage", [*workers, *tls, "--bind", "[::]:443", "storage:application"], _STORAGE_ENVIRONMENT)
        self._spawn("acme", ["pebble", "-config", "/srv/outside/pebble.json", "-dnsserver", f"{OUTSIDE}:53"], {"PEBBLE_VA_NOSLEEP": "1"})
        for port in (53, 443, 14000, 15000):
            self._wait_for(port)

    def run(self, command: list[str], timeout_seconds: float = 120) -> tuple[int, str]:
        """Run a program of the world outside, for example a scanner."""
        entered = [*self._entered(), *command]
        try:
            done = subprocess.run(
                entered, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=timeout_seconds
            )
        except subprocess.TimeoutExpired:
            return 124, f"no end after {timeout_seconds:.0f} s"
        return done.returncode, done.stdout

    def make_bucket(self, bucket: str) -> None:
        """Make a bucket in the object store."""
        self._curl("--request", "PUT", f"https://{STORAGE_HOST}/{bucket}")

    def acme_authority(self) -> str:
        """The certificate (PEM) that the ACME authority signs with at the root of every chain."""
        return self._curl(f"https://{ACME_HOST}:15000/roots/0")

    def stop(self) -> None:
        """End every service and remove its root."""
        for process in self._processes:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        self._processes.clear()
        remove_root(self._directory)

    def _entered(self) -> list[str]:
        return ["ip", "netns", "exec", self._network.outside, "chroot", str(self.root)]

    def _spawn(self, name: str, command: list[str], environment: Mapping[str, str] | None = None) -> None:
        with open(self._directory / f"{name}.log", "ab") as log:
            process = subprocess.Popen(
                [*self._entered(), *command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                env={"PATH": os.environ["PATH"] + ":/usr/sbin:/sbin", "LC_ALL": "C.UTF-8", **(environment or {})},
            )
        self._processes.append(process)

    def _curl(self, *arguments: str) -> str:
        resolve = ["--resolve", f"*:443:{OUTSIDE}", "--resolve", f"*:15000:{OUTSIDE}"]
        code, text = self.run(["curl", "--silent", "--show-error", "--fail", "--max-time", "20", *resolve, *arguments])
        if code:
            raise RungwayError(f"rehearsal: {arguments[-1]}: {text.strip()}")
        return text

    def _wait_for(self, port: int) -> None:
        end = time.monotonic() + START_SECONDS
        while self.run(["bash", "-c", f"exec 3<>/dev/tcp/{OUTSIDE}/{port}"])[0]:
            ended = [process.args for process in self._processes if process.poll() is not None]
            if ended or time.monotonic() > end:
                logs = "\n".join(path.read_text()[-600:] for path in self._directory.glob("*.log"))
                raise RungwayError(f"rehearsal: nothing answers at port {port} of the world outside: {logs}")
            time.sleep(0.1)


_PEBBLE = {
    "pebble": {
        "listenAddress": "[::]:14000",
        "managementListenAddress": "[::]:15000",
        "certificate": "/srv/outside/server.crt",
        "privateKey": "/srv/outside/server.key",
        "httpPort": 80,
        "tlsPort": 443,
    }
}

_STORAGE_ENVIRONMENT = {"S3_IGNORE_SUBDOMAIN_BUCKETNAME": "true"}
"""A bucket is named by the path: our own host name says nothing about it."""

# One process: moto keeps objects in memory.
_STORAGE = """\
from moto.server import create_backend_app
application = create_backend_app("s3")
"""


class RehearsalAuthority:
    """A certificate authority for one rehearsal, which its servers trust as they trust the public ones."""

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Rehearsal authority")])
        self._certificate = (
            self._builder(self._name, self._key.public_key())
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(key_usage(signs_certificates=True), critical=True)
            .sign(self._key, hashes.SHA256())
        )

    @property
    def certificate(self) -> bytes:
        """Its own certificate, in PEM."""
        return self._certificate.public_bytes(serialization.Encoding.PEM)

    def issue(self, names: list[str]) -> tuple[bytes, bytes]:
        """A certificate for `names` and its key, in PEM."""
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = (
            self._builder(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0])]), key.public_key())
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        return certificate.public_bytes(serialization.Encoding.PEM), private

    def answer(self, request: str) -> str:
        """The certificate (PEM) for a signing request (PEM): for its key and its names, and for nothing else that it asks for."""
        asked = x509.load_pem_x509_csr(request.encode())
        key = asked.public_key()
        assert isinstance(key, ec.EllipticCurvePublicKey)  # noqa: S101 (our own request)
        names = asked.extensions.get_extension_for_class(x509.SubjectAlternativeName)
        builder = self._builder(asked.subject, key).add_extension(names.value, names.critical)
        return builder.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()

    def _builder(self, subject: x509.Name, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
        now = datetime.datetime.now(datetime.UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(now + datetime.timedelta(days=30))
            # Who checks strictly, as Python does from 3.13 on, wants to see whose key is whose (RFC 5280, 4.2.1.1 and 4.2.1.2).
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
        )
