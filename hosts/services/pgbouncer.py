"""PgBouncer, beside the PostgreSQL that it pools: clients wait here for one of a few server connections, a transaction each."""

from hosts import tuning
from hosts.configuration import Account, HostFile, Service, address_of, secret
from hosts.services.base import AUTHORITY, CERTIFICATE, KEY, TLS_FILES
from hosts.specification import HostSpecification
from hosts.templating import render_template

CHECK = "/usr/local/lib/rungway/pgbouncer-check"
CONFIGURATION = "/etc/pgbouncer/pgbouncer.ini"


def pgbouncer(host: HostSpecification) -> Service | None:
    """PgBouncer on port 6432 of `host`, None where there is none. It converges after PostgreSQL, or Patroni, of the same server."""
    if not host.pgbouncer:
        return None
    return Service(
        name="pgbouncer",
        packages=("pgbouncer",),
        accounts=(Account(name="postgres", home="/var/lib/postgresql", groups=("tls-key",)),),
        files=(
            HostFile(
                path=CONFIGURATION,
                content=render_template(
                    "pgbouncer/pgbouncer.ini",
                    address=address_of(host),
                    tuned=tuning.settings(tuning.PGBOUNCER, host),
                    authority=AUTHORITY,
                    certificate=CERTIFICATE,
                    key=KEY,
                ),
                owner="postgres",
                group="postgres",
                mode=0o640,
            ),
            HostFile(
                path="/etc/pgbouncer/userlist.txt",
                content=render_template(
                    "pgbouncer/userlist.txt", roles={name: secret(f"postgresql-{name}") for name in ("pgbouncer", "monitoring")}
                ),
                owner="postgres",
                group="postgres",
                mode=0o600,
            ),
            HostFile(
                path="/etc/systemd/system/pgbouncer.service.d/rungway.conf",
                content=render_template(
                    "pgbouncer/rungway.conf", address=address_of(host), open_files=tuning.open_files(host)["pgbouncer"]
                ),
            ),
            HostFile(path=CHECK, content=render_template("pgbouncer/check.sh", configuration=CONFIGURATION), mode=0o755),
        ),
        reads=TLS_FILES,
        checks=(CHECK,),
        units=("pgbouncer.service",),
        on_change="reload",
        probe="runuser -u postgres -- psql -Xqw -h /run/postgresql -p 6432 -U pgbouncer -d pgbouncer -c 'SHOW VERSION' >/dev/null"
        f" && (: < /dev/tcp/{address_of(host)}/6432)",
    )
