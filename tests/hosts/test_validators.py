"""Every file of every kind of server, judged by the program that will read it, in a Debian root that has the program."""

import dataclasses
import os
import re
import shlex
import shutil
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

from hosts.configuration import HostConfiguration, HostFile, Service
from hosts.render import host_configuration
from hosts.secrets import AUTHORITY_SECRET, ORIGIN_CERTIFICATE, fill_in, needed_secrets, origin_certificate_request
from hosts.services.replication import COPY
from hosts.specification import HostSpecification
from infra.host_specifications import host_specifications
from infra.reading import read_settings
from infra.stack_file import engine_config, read_stack_file
from rungway.errors import RungwayError
from rungway.rehearsal.outside import RehearsalAuthority
from rungway.rehearsal.roots import Roots
from rungway.stacks import all_stacks, find_stack
from tests.support.debian_root import Answer, Command, DebianRoot, Step, make_debian_root

ROOT = Path(__file__).resolve().parents[2]
STACKS = [stack.name for stack in all_stacks(ROOT)]
AT_ONCE = 2


@dataclass(frozen=True, slots=True)
class Validator:
    """A program that judges files whose path, or first line, matches. With `{path}` in its script it takes them one by one."""

    name: str
    files: str
    script: str


_SCRATCH_POSTGRESQL = """
as_postgres() { runuser -u postgres -- "$@"; }
data=$(sed -n "s/^data_directory = '\\(.*\\)'.*/\\1/p" /etc/postgresql/17/main/postgresql.conf)
options="-c config_file=/etc/postgresql/17/main/postgresql.conf -c shared_buffers=16MB -c huge_pages=off -c listen_addresses="
as_postgres /usr/lib/postgresql/17/bin/pg_ctl start --silent --wait -D "$data" -o "$options -c archive_mode=off -c log_destination=stderr"
wrong=$(as_postgres psql -XAtq -c "SELECT * FROM pg_hba_file_rules WHERE error IS NOT NULL")
as_postgres /usr/lib/postgresql/17/bin/pg_ctl stop --silent --mode=immediate -D "$data"
[ -z "$wrong" ] || { echo "$wrong"; exit 1; }
"""
_QUIET = (
    'said=$({command} 2>&1 || true); wrong=$(grep -E "{complaint}" <<<"$said" || true); [ -z "$wrong" ] || {{ echo "$wrong"; exit 1; }}'
)


def _without(complaint: str, command: str) -> str:
    """A command that exits with 0 whatever it finds: its complaints count."""
    return f'said=$({command} 2>&1 || true); if grep -E "{complaint}" <<<"$said"; then exit 1; fi'


VALIDATORS = (
    Validator("bash", "#!/bin/(ba)?sh", "bash -n {path}"),
    # SC2034: what `set -a` exports is used. SC2043: a list of servers may have one.
    Validator("shellcheck", "#!/bin/(ba)?sh", "shellcheck --external-sources --exclude=SC2034,SC2043 {path}"),
    Validator("python", r"#!/usr/bin/python3|.*\.py$", "python3 -m py_compile {path}"),
    Validator("json", r".*\.json$", "python3 -m json.tool {path} >/dev/null"),
    Validator("yaml", r".*\.ya?ml$", "python3 -c 'import sys, yaml; yaml.safe_load(open(sys.argv[1]))' {path}"),
    Validator("visudo", "/etc/sudoers.d/", "visudo --check --quiet --file={path}"),
    Validator("sysctl", "/etc/sysctl.d/", _without("invalid syntax", "sysctl --dry-run --load {path}")),
    Validator("modprobe", "/etc/modprobe.d/", _without("bad line", "modprobe --showconfig")),
    Validator("auditd", "/etc/audit/auditd.conf", _without("nknown keyword|- line [0-9]", "timeout 1 auditd -n -f -s disable")),
    Validator("promtool", "/etc/prometheus/rules/", "promtool check rules {path}"),
    Validator(
        "flags",
        "/etc/default/prometheus",
        'set -a; . {path}; p=$(basename {path}); "$p" $ARGS --version >/run/v 2>&1 || { cat /run/v; exit 1; }',
    ),
    Validator("postgres", "/etc/postgresql/17/main/", _SCRATCH_POSTGRESQL),
    Validator(
        "pgbackrest",
        "/etc/pgbackrest.conf",
        # Without its bucket, which nobody serves here: a directory stands for it.
        "install -d -o postgres /tmp/repo; export PGBACKREST_REPO1_TYPE=posix PGBACKREST_REPO1_PATH=/tmp/repo; "
        + _without("WARN|ERROR", "runuser -u postgres -- pgbackrest --stanza=main info"),
    ),
    Validator(
        "journal-upload",
        "/etc/systemd/journal-upload.conf.d/",
        _without("journal-upload.conf.d", "timeout 1 /usr/lib/systemd/systemd-journal-upload --save-state=/tmp/state"),
    ),
    Validator(
        "journal-remote",
        "/etc/systemd/journal-remote.conf.d/",
        _without("journal-remote.conf.d", "timeout 1 /usr/lib/systemd/systemd-journal-remote --listen-raw=127.0.0.1:9 --output=/tmp"),
    ),
)

CANNOT_RUN = {
    "backup: runuser -u postgres -- bash -c": "it asks the object store, and there is none here",
}
"""Checks of services that need something that runs; each by the start of its name."""

UNPROVEN = {
    "/etc/hosts": "every line is taken as it is",
    "/etc/audit/rules.d/": "only the kernel judges them, and it has one audit for the whole machine",
    "/etc/systemd/system.conf.d/": "systemd says what is wrong at boot alone",
    "/etc/systemd/journald.conf.d/": "systemd-journald says what is wrong in the journal alone",
    "/etc/postgresql-common/createcluster.d/": "pg_createcluster skips what it doesn't know",
    "/etc/patroni/postgresql.conf": "a comment",
    "/etc/pgbouncer/userlist.txt": "PgBouncer skips what it doesn't understand",
    "/etc/security/limits.d/": "PAM says what is wrong when somebody logs in",
    "/etc/default/mtail": "its service's drop-in replaces the script that reads it, and mtail starts in rehearsals",
    "/etc/prometheus/alert-webhook-url": "one value",
    "/etc/rungway/replication.pgpass": "libpq skips what it doesn't understand; a rehearsal of two regions logs in with it",
    "/etc/patroni/pg_service.conf": "libpq reads it when Patroni connects to another region: a rehearsal of two regions does",
    "/etc/rungway/observability/grafana-admin": "one value",
    "/etc/rungway/redis-snapshot.env": "variables for a program that Redis starts in rehearsals",
    "/etc/rungway/redis.env": "one variable",
    "/etc/rungway/sentinel.env": "one variable",
    "/etc/rungway/application": "variables for the application",
    "/etc/rungway/observability/config.alloy": "Alloy comes in a container image",
}
"""Files that no program refuses here, by the start of their path, and why."""

PREPARED = {
    "cluster": "postgres",
    "a copy of the first region's database": "postgres",
    "the role of a new Redis": "redis",
    "the stack's own certificate until there is another": "nginx",
}
"""Tasks that need no service that runs, and what counts on them, by the start of its name."""

COPIED = """
data=/srv/data/postgresql/17/main
install --directory --owner=postgres --group=postgres "$data"
runuser -u postgres -- /usr/lib/postgresql/17/bin/initdb --pgdata="$data" >/dev/null
rm "$data"/*.conf
"""
"""What a unit of systemd leaves, which does not run here: data without its configuration."""

BROKEN = (
    ("base: openssl verify", "/etc/rungway/tls/authority.crt", ""),
    ("base: openssl verify", "/etc/rungway/tls/server.crt", ""),
    ("base: test", "/etc/rungway/tls/server.key", ""),
    ("base: visudo", "/etc/sudoers.d/10-rungway", "admin ALL=(ALL NOPASSWD\n"),
    ("visudo", "/etc/sudoers.d/10-rungway", "admin ALL=(ALL NOPASSWD\n"),
    ("ssh: sshd -t", "/etc/ssh/sshd_config.d/00-bootstrap.conf", "PermitRootLogin perhaps\n"),
    ("firewall: nft", "/etc/nftables.conf", "table inet other { chain c { tcp dport nowhere accept } }\n"),
    ("wireguard: ", "/etc/wireguard/wg0.conf", "AllowedIPs = nowhere\n"),
    ("shellcheck", "/usr/local/lib/rungway/wireguard-reload", "echo $undefined\n"),
    ("systemd", "/etc/systemd/system/wg-quick@wg0.service.d/10-rungway.conf", "[Service]\nNonsense=1\n"),
    ("sysctl", "/etc/sysctl.d/90-rungway.conf", "vm.swappiness 10\n"),
    ("modprobe", "/etc/modprobe.d/10-rungway.conf", "blakclist usb-storage\n"),
    ("clock: chronyd", "/etc/chrony/chrony.conf", "srever pool.ntp.org\n"),
    ("updates: apt-config", "/etc/apt/apt.conf.d/90-rungway", 'Unattended-Upgrade::Automatic-Reboot "true\n'),
    ("auditd", "/etc/audit/auditd.conf", "nonsense = 1\n"),
    ("etcd: ", "/etc/etcd/etcd.yml", "nonsense: [\n"),
    ("postgresql: runuser", "/etc/postgresql/17/main/conf.d/rungway.conf", "max_conections = 10\n"),
    ("postgresql-follow: runuser", "/etc/rungway/rewind.conf", "restore_comand = ''\n"),
    ("postgres", "/etc/postgresql/17/main/conf.d/rungway.conf", "max_conections = 10\n"),
    ("postgres", "/etc/postgresql/17/main/pg_hba.conf", "hostssl application\n"),
    ("patroni: ", "/etc/patroni/config.yml", "postgresql: 1\n"),
    ("yaml", "/etc/patroni/dynamic.yml", "a: b: c\n"),
    ("shellcheck", "/etc/patroni/post-bootstrap", "echo $undefined\n"),
    ("pgbouncer: ", "/etc/pgbouncer/pgbouncer.ini", "max_client_conns = 10\n"),
    ("redis: ", "/etc/redis/redis.conf", "maxmemory-polcy noeviction\n"),
    ("redis: ", "/etc/redis/users.acl", "user other nonsense\n"),
    ("sentinel: ", "/etc/redis/sentinel.conf", "sentinel down-after main 5000\n"),
    ("pgbackrest", "/etc/pgbackrest.conf", "repo1-nonsense=1\n"),
    ("json", "/etc/rungway/database.json", "{\n"),
    ("haproxy: ", "/etc/haproxy/haproxy.cfg", "    ballance roundrobin\n"),
    ("containers: ", "/etc/docker/daemon.json", "{\n"),
    ("nginx: ", "/etc/nginx/nginx.conf", "worker_process 1;\n"),
    ("nginx: ", "/etc/nginx/rungway/site.conf", "server { listen 127.0.0.1:81 }\n"),
    ("nginx: ", "/etc/rungway/tls/site.crt", ""),
    ("nginx: ", "/etc/rungway/tls/site.key", ""),
    ("exporters: mtail", "/etc/mtail/requests.mtail", "counter requests requests\n"),
    ("flags", "/etc/default/prometheus-node-exporter", 'ARGS="--colector.nonsense"\n'),
    ("flags", "/etc/default/prometheus", 'ARGS="--nonsense"\n'),
    ("prometheus: promtool", "/etc/prometheus/prometheus.yml", "scrape: 1\n"),
    ("promtool", "/etc/prometheus/rules/servers.yml", "  - name: other\n    rules: [{alert: A, expr: 'sum('}]\n"),
    ("prometheus: prometheus-blackbox", "/etc/prometheus/blackbox.yml", "nonsense: 1\n"),
    ("alertmanager: amtool", "/etc/prometheus/alertmanager.yml", "nonsense: 1\n"),
    ("grafana: ", "/etc/rungway/observability/compose.yaml", "nonsense: 1\n"),
    ("yaml", "/etc/rungway/observability/loki.yaml", "a: b: c\n"),
    ("yaml", "/etc/rungway/observability/tempo.yaml", "a: b: c\n"),
    ("yaml", "/etc/rungway/observability/provisioning/datasources/rungway.yaml", "a: b: c\n"),
    ("yaml", "/etc/rungway/observability/provisioning/dashboards/rungway.yaml", "a: b: c\n"),
    ("json", "/etc/rungway/observability/dashboards/overview.json", "{\n"),
    ("journal-upload", "/etc/systemd/journal-upload.conf.d/rungway.conf", "Nonsense=1\n"),
    ("journal-remote", "/etc/systemd/journal-remote.conf.d/rungway.conf", "Nonsense=1\n"),
    ("systemd", "/etc/systemd/system/grow-data-volume.service", "[Service]\nNonsense=1\n"),
    ("systemd", "/etc/systemd/system/grow-data-volume.timer", "[Timer]\nOnCalendar=sometimes\n"),
    ("systemd", "/etc/systemd/system/nftables.service.d/10-rungway.conf", "[Service]\nNonsense=1\n"),
    ("systemd", "/etc/systemd/system/tmp.mount.d/10-rungway.conf", "[Mount]\nNonsense=1\n"),
    ("systemd", "/etc/systemd/system/systemd-journal-remote.socket.d/rungway.conf", "[Socket]\nListenStream=nowhere:x\n"),
    ("bash", "/usr/local/lib/rungway/facts-metrics", "if true\n"),
    ("shellcheck", "/usr/local/sbin/restart-after-upgrade", "echo $undefined\n"),
    ("python", "/usr/local/lib/rungway/pgbackrest_backups.py", "def\n"),
    ("python", "/usr/local/sbin/rungway-database", "def\n"),
    ("application: docker-compose", "/etc/rungway/application/compose.yaml", "nonsense: 1\n"),
    ("application: bash", "/usr/local/sbin/rungway-rollout", "if true\n"),
)
"""Who must refuse which file when this is added to it; nothing means that the file is emptied."""


CLOUDFLARE = RehearsalAuthority()


@dataclass(frozen=True, slots=True)
class Server:
    """What a server holds, nothing left open, and its private address."""

    configuration: HostConfiguration
    address: str


def _with_every_option(host: HostSpecification) -> HostSpecification:
    """With what the stacks leave unset: an application, its name certified by ACME, and somebody whom alerts are sent to."""
    application, monitoring = host.application, host.monitoring
    if application:
        image, migration = "registry.example.com/shop:1", "./migrate --to=head"
        application = dataclasses.replace(application, image=image, migration_command=migration, origin_certificate=False)
    if monitoring:
        monitoring = dataclasses.replace(monitoring, alerts_are_sent=True)
    return dataclasses.replace(host, application=application, monitoring=monitoring)


@cache
def _servers(stack_name: str) -> dict[str, Server]:
    """The first server of each role and region, as its stack has it and with every option."""
    stack = find_stack(stack_name, ROOT)
    config, _ = engine_config(read_stack_file(stack.path))
    settings, _ = read_settings(config, source=stack.name, require_user_values=False)
    hosts = host_specifications(settings)
    addresses = {host.name: host.private_address or f"10.99.0.{number}" for number, host in enumerate(hosts, 1)}
    public_addresses = {host.name: f"2001:db8::{number}" for number, host in enumerate(hosts, 1)}
    first = {(host.role, host.region): host for host in reversed(hosts)}
    variants = {host.name: host for host in first.values()}
    options = {f"{name} with every option": _with_every_option(host) for name, host in variants.items()}
    variants |= {name: host for name, host in options.items() if host not in variants.values()}
    servers = {}
    for name, host in variants.items():
        configuration = host_configuration(host)
        secrets = {secret: f"{secret}-of-a-test" for secret in needed_secrets(configuration)}
        if ORIGIN_CERTIFICATE in secrets and host.application:
            request = origin_certificate_request(secrets[AUTHORITY_SECRET], host.application.hostnames)
            secrets[ORIGIN_CERTIFICATE] = CLOUDFLARE.answer(request)
        filled_in = fill_in(configuration, secrets=secrets, addresses=addresses, public_addresses=public_addresses)
        servers[name] = Server(filled_in, addresses[host.name])
    return servers


def _scripts(service: Service) -> list[HostFile]:
    """The shell scripts of a service that are no files of the server."""
    texts = [text for task in (*service.before, *service.after) for text in (task.unless, task.script)]
    texts += [service.probe] if service.probe else []
    return [HostFile(path=f"/tmp/{service.name}-{number}.sh", content=f"#!/bin/bash\n{text}\n") for number, text in enumerate(texts)]  # noqa: S108


class Pending:
    """Which commands are still to run: what was judged once, with the same files, is not judged again."""

    def __init__(self) -> None:
        self._judged: set[tuple[object, ...]] = set()

    def checks(self, service: Service) -> list[Command]:
        """The service's own."""
        if not self._is_new(service.name, service.files, service.checks):
            return []
        checks = [Command(f"{service.name}: {check}", check) for check in service.checks]
        return [check for check in checks if not any(check.name.startswith(name) for name in CANNOT_RUN)]

    def tasks(self, service: Service) -> list[Command]:
        """What later checks count on."""
        prepared = [task for task in service.before if task.name in PREPARED]
        copies = [Command("a copy of the first region's database", COPIED) for task in prepared if COPY in task.script]
        return copies + [Command(task.name, task.script) for task in prepared]

    def validations(self, files: Iterable[HostFile]) -> list[Command]:
        """Those of all validators."""
        commands = []
        for validator in VALIDATORS:
            pattern = re.compile(validator.files)
            concerned = [file for file in files if pattern.match(file.path) or pattern.match(file.content)]
            if "{path}" in validator.script:
                commands += [
                    Command(f"{validator.name} {file.path}", validator.script.replace("{path}", file.path))
                    for file in concerned
                    if self._is_new(validator, file.path, file.content)
                ]
            elif concerned and self._is_new(validator, *(file.content for file in concerned)):
                commands.append(Command(validator.name, validator.script))
        return commands + self._units(files)

    def _units(self, files: Iterable[HostFile]) -> list[Command]:
        """Units and drop-ins together: a drop-in alone is no unit."""
        contents: dict[str, list[str]] = {}
        for file in files:
            if found := re.match(r"/etc/systemd/system/([^/]+?)(\.d/[^/]+)?$", file.path):
                contents.setdefault(found[1], []).append(file.content)
        units = [unit.replace("@.", "@blue.") for unit, texts in contents.items() if self._is_new(unit, *texts)]
        return [Command("systemd", f"! systemd-analyze verify --man=no {' '.join(units)} 2>&1 | grep .")] if units else []

    def _is_new(self, *key: object) -> bool:
        new = key not in self._judged
        self._judged.add(key)
        return new


def _judge(root: DebianRoot, server: Server, pending: Pending) -> list[Answer]:
    """Write the files of all services in their order, as convergence does, and run what is still to run."""
    # Its package made a cluster here, which `postgresql-defaults` prevents on servers.
    steps = [Step(commands=(Command("no cluster", "[ ! -e /etc/postgresql/17/main ] || pg_dropcluster 17 main"),))]
    for service in server.configuration.services:
        commands = (*pending.checks(service), *pending.tasks(service))
        steps.append(Step(service.accounts, service.directories, service.files, commands))
    scripts = tuple(script for service in server.configuration.services for script in _scripts(service))
    validations = pending.validations((*server.configuration.files, *scripts))
    steps.append(Step(files=scripts, commands=tuple(validations)))
    return root.run(steps, addresses=[server.address])


@pytest.fixture(scope="module")
def pending() -> Pending:
    """Shared by all stacks."""
    return Pending()


@pytest.mark.parametrize("stack", STACKS)
def test_every_file_is_accepted(stack: str, debian_root: DebianRoot, pending: Pending) -> None:
    servers = _servers(stack)
    with ThreadPoolExecutor(max_workers=AT_ONCE) as pool:
        answers = dict(zip(servers, pool.map(lambda server: _judge(debian_root, server, pending), servers.values()), strict=True))
    refused = [f"{server}: {answer.name}: {answer.said}" for server, said in answers.items() for answer in said if answer.code]

    assert not refused, "\n\n".join(refused)


def _server_with(path: str) -> Server:
    """The first server that has the file."""
    return next(
        server
        for stack in ("mvp", "phase2", *STACKS)
        for server in _servers(stack).values()
        if path in {file.path for file in server.configuration.files}
    )


def _changed(configuration: HostConfiguration, path: str, content: str) -> HostConfiguration:
    """With another content of one file."""
    services = [
        dataclasses.replace(
            service,
            files=tuple(dataclasses.replace(file, content=content) if file.path == path else file for file in service.files),
        )
        for service in configuration.services
    ]
    return dataclasses.replace(configuration, services=tuple(services))


@pytest.mark.parametrize(("judge", "path", "added"), BROKEN)
def test_a_broken_file_is_refused(judge: str, path: str, added: str, debian_root: DebianRoot) -> None:
    server = _server_with(path)
    before = next(file.content for file in server.configuration.files if file.path == path)
    broken = Server(_changed(server.configuration, path, before + added if added else ""), server.address)

    answers = [answer for answer in _judge(debian_root, broken, Only(judge, path)) if answer.name.startswith(judge)]

    assert answers
    assert any(answer.code for answer in answers), answers


class Only(Pending):
    """The commands of one judge alone, and of validators only those about one file."""

    def __init__(self, judge: str, path: str) -> None:
        super().__init__()
        self._judge = judge
        self._path = path

    def checks(self, service: Service) -> list[Command]:
        return [check for check in super().checks(service) if check.name.startswith(self._judge)]

    def tasks(self, service: Service) -> list[Command]:
        return [task for task in super().tasks(service) if self._judge.startswith(PREPARED[task.name])]

    def validations(self, files: Iterable[HostFile]) -> list[Command]:
        names = (self._judge, f"{self._judge} {self._path}")
        return [command for command in super().validations(files) if command.name in names]


def test_every_kind_of_file_is_refused_by_somebody_or_says_why_not() -> None:
    files = [file for stack in STACKS for server in _servers(stack).values() for file in server.configuration.files]
    proven = {path for _, path, _ in BROKEN}
    judges = [re.compile(validator.files) for validator in VALIDATORS]
    unit = re.compile("/etc/systemd/system/")
    open_ = {
        file.path
        for file in files
        if file.path not in proven and not any(judge.match(file.path) or judge.match(file.content) for judge in (*judges, unit))
    }

    assert {path for path in open_ if not path.startswith(tuple(UNPROVEN))} == set()
    assert [start for start in UNPROVEN if not any(path.startswith(start) for path in open_)] == []


def test_a_check_that_cannot_run_here_still_cannot(debian_root: DebianRoot) -> None:
    for start in CANNOT_RUN:
        server, check = next(
            (server, check)
            for stack in STACKS
            for server in _servers(stack).values()
            for service in server.configuration.services
            for check in service.checks
            if f"{service.name}: {check}".startswith(start)
        )
        steps = [Step(each.accounts, each.directories, each.files) for each in server.configuration.services]
        command = Command(start, f"timeout 5 bash -euc {shlex.quote(check)}")

        (answer,) = debian_root.run([*steps, Step(commands=(command,))], addresses=[server.address])

        assert answer.code, f"{start} can run here now: remove it from the list"


def test_nothing_stays_mounted(debian_root: DebianRoot) -> None:
    (answer,) = debian_root.run([Step(commands=(Command("mounts", "cat /proc/mounts; exit 3"),))])

    assert (answer.code, "overlay / overlay" in answer.said) == (3, True)
    assert str(debian_root.directory) not in Path("/proc/mounts").read_text()
    assert list(debian_root.directory.iterdir()) == []


@pytest.mark.parametrize(("ci", "outcome"), [("", pytest.skip.Exception), ("true", pytest.fail.Exception)])
@pytest.mark.parametrize(("lack", "reason"), [("root", "needs root"), ("tools", "needs mmdebstrap"), ("network", "apt-get failed")])
def test_without_a_root_tests_are_skipped_but_for_ci(
    ci: str, outcome: type[Exception], lack: str, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> Path:
        raise RungwayError("apt-get failed")

    monkeypatch.setenv("CI", ci)
    monkeypatch.setattr(os, "geteuid", lambda: 1000 if lack == "root" else 0)
    monkeypatch.setattr(shutil, "which", lambda tool, **_: None if lack == "tools" else tool)
    monkeypatch.setattr(Roots, "with_packages", fail)

    with pytest.raises(outcome, match=reason):
        make_debian_root(["nginx"], tmp_path)
