"""The program behind the backups of PostgreSQL, kept small so that it can be exchanged: its files, and a handful of shell commands."""

from typing import Protocol

from hosts.configuration import Directory, HostFile, secret
from hosts.specification import BackupService, HostSpecification
from hosts.templating import render_template


class BackupTool(Protocol):
    """What a backup program must offer. The commands are shell commands, run as the account postgres on a database server."""

    packages: tuple[str, ...]

    create: str
    """Prepares the repository for this database."""
    is_created: str
    """Exits with 0 when the repository is prepared for a database."""
    check: str
    """Exits with 0 when backups and the archive of the write-ahead log work from end to end."""
    full: str
    incremental: str
    backups: str
    """Prints one line for each finished backup, oldest first: 'full' or 'incremental', the Unix time of its end, its restored size in
    bytes, the timeline on which it ended, as the names of segments begin with it ('00000001'), and 'intact', or 'damaged' with wrong
    checksums in it. Prints nothing where the repository is not prepared; exits with another status than 0 where it can't be reached."""
    restore: str
    """Restores the latest backup into the empty directory $DATA, so that its PostgreSQL recovers to the time $TARGET
    ('2026-12-31 23:59:59+00:00'; empty: the end of the archive) and then accepts writes."""
    archive: str
    """The archive_command of the database that is backed up: exits with 0 when the segment of the write-ahead log %p is safe."""
    fetch: str
    """Its restore_command."""
    fetch_for_drill: str
    """The restore_command of a drill, which must not meet the running database."""

    def fetch_of(self, region: str) -> str:
        """The restore_command of a copy of another region's database."""

    def directories(self) -> tuple[Directory, ...]:
        """The directories that it needs."""

    def files(self, host: HostSpecification, backup: BackupService, data_directory: str) -> tuple[HostFile, ...]:
        """Its configuration on a database server whose PostgreSQL is in `data_directory`."""


_PGBACKREST = "pgbackrest --stanza=main"
_BACKUPS = "/usr/local/lib/rungway/pgbackrest_backups.py"


class PgBackRest:
    """pgBackRest with a repository in a bucket that speaks S3, encrypted before it leaves the server.

    Each region has its own path in the bucket, since every region writes its own history.
    """

    packages: tuple[str, ...] = ("pgbackrest",)
    create = f"{_PGBACKREST} stanza-create"
    is_created = f"{_PGBACKREST} --output=json info | grep --quiet '\"db\":\\[{{'"
    check = f"{_PGBACKREST} check"
    full = f"{_PGBACKREST} --type=full backup"
    incremental = f"{_PGBACKREST} --type=incr backup"
    backups = f"set -o pipefail; {_PGBACKREST} --output=json info | python3 {_BACKUPS}"
    restore = (
        f'{_PGBACKREST} --pg1-path="$DATA" --archive-mode=off ${{TARGET:+--type=time "--target=$TARGET" --target-action=promote}} restore'
    )
    archive = f"{_PGBACKREST} archive-push %p"
    fetch = f'{_PGBACKREST} archive-get %f "%p"'
    # The running database has its own queue of fetched segments and its own lock.
    fetch_for_drill = f'{_PGBACKREST} --pg1-path="$PWD" --no-archive-async --lock-path=/run/postgresql/drill archive-get %f "%p"'

    def fetch_of(self, region: str) -> str:
        """The same, from the path of another region; what this region archives when it is promoted goes into its own."""
        return f'{_PGBACKREST} --repo1-path={_path(region)} archive-get %f "%p"'

    def directories(self) -> tuple[Directory, ...]:
        """Where segments of the write-ahead log wait for the bucket."""
        return (Directory(path="/var/spool/pgbackrest", owner="postgres", group="postgres", mode=0o750),)

    def files(self, host: HostSpecification, backup: BackupService, data_directory: str) -> tuple[HostFile, ...]:
        """pgbackrest.conf, and what makes its list of backups short.

        A backup uses half of the processors, because PostgreSQL works meanwhile (pgBackRest documentation, "process-max": not so high
        that compression and transfer affect the database); a restore uses all of them.
        """
        content = render_template(
            "backup/pgbackrest.conf",
            bucket=backup.bucket,
            path=_path(host.region),
            endpoint=secret("backup-endpoint"),
            key_id=secret("backup-key-id"),
            key_secret=secret("backup-key-secret"),
            cipher=secret("backup-cipher"),
            retention_days=backup.retention_days,
            backup_processes=max(1, host.cores // 2),
            restore_processes=host.cores,
            data_directory=data_directory,
        )
        return (
            HostFile(path="/etc/pgbackrest.conf", content=content, group="postgres", mode=0o640),
            HostFile(path=_BACKUPS, content=render_template("backup/pgbackrest_backups.py")),
        )


def _path(region: str) -> str:
    """Where the repository of a region is in the bucket."""
    return f"/postgresql/{region}"


BACKUP_TOOL: BackupTool = PgBackRest()
"""The program that is used."""
