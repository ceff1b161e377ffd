#!/bin/bash
# Snapshots of this server's Redis, encrypted, in the bucket of the backups.
set -euo pipefail
umask 077
data={{ directory }}
server={{ server }}

usage() {
    cat <<'END'
rungway-redis-snapshot                  take a snapshot, and delete those older than {{ retention_days }} days
rungway-redis-snapshot list [SERVER]    names of the snapshots of SERVER (this one, if not given)
rungway-redis-snapshot restore NAME [SERVER]
    Replace ALL data of Redis on this server by a snapshot. What was there moves to {{ directory }}/before-restore-TIME.
    Restore on the primary only; replicas copy it. With Sentinel, first `systemctl stop redis-sentinel` on every Redis
    server, or another server becomes the primary meanwhile, with the old data; start it again at the end.
    A snapshot can be restored without this server, too: it is an RDB file in an rclone crypt remote (password: the
    secret backup-cipher; names are not encrypted).
END
}

fail() {
    echo "rungway-redis-snapshot: $*" >&2
    exit 1
}

environment() {
    set -a
    . /etc/rungway/redis-snapshot.env
    RCLONE_CONFIG=/dev/null
    RCLONE_CONFIG_SNAPSHOTS_PASSWORD=$(rclone obscure - <<<"$SNAPSHOT_CIPHER")
    set +a
}

persistence() {
    {{ cli }} info persistence | tr -d '\r' | sed -n "s/^$1://p"
}

saved() {
    # BGSAVE refuses while another save or a rewrite of the append-only file runs; SCHEDULE has it wait its turn.
    local before deadline=$((SECONDS + {{ save_seconds }}))
    before=$({{ cli }} lastsave)
    # LASTSAVE counts seconds: two saves within one could not be told apart.
    while [ "$(date +%s)" -le "$before" ]; do sleep 0.2; done
    {{ cli }} bgsave schedule >/dev/null
    until [ "$({{ cli }} lastsave)" -gt "$before" ]; do
        [ "$SECONDS" -lt "$deadline" ] || fail "BGSAVE did not end within {{ save_seconds }} s (last status: $(persistence rdb_last_bgsave_status))"
        sleep 0.2
    done
}

take() {
    local name
    saved
    name=$(date --utc +%Y-%m-%dT%H%M%SZ).rdb
    # The link keeps this very file while Redis puts a newer one in its place.
    ln -f "$data/dump.rdb" "$data/snapshot.rdb"
    trap 'rm -f "$data/snapshot.rdb"' EXIT
    redis-check-rdb "$data/snapshot.rdb" >/dev/null || fail "the RDB file of Redis is damaged"
    rclone copyto "$data/snapshot.rdb" "snapshots:$server/$name"
    rclone delete --min-age {{ retention_days }}d "snapshots:$server"
    cat >{{ metric_file }}.new <<END
# HELP rungway_redis_snapshot_last_success_timestamp_seconds When the last snapshot of Redis reached the bucket.
# TYPE rungway_redis_snapshot_last_success_timestamp_seconds gauge
rungway_redis_snapshot_last_success_timestamp_seconds $(date +%s)
END
    chmod 0644 {{ metric_file }}.new
    mv {{ metric_file }}.new {{ metric_file }}
    echo "$server/$name"
}

restore() {
    local name=$1 from=$2 aside
    ! systemctl is-active --quiet redis-sentinel || fail "Sentinel runs: stop redis-sentinel on every Redis server first"
    ! grep -q '^replicaof ' "$data/role.conf" || fail "this server is a replica: restore on the primary"
    rm -rf "$data/restored" && mkdir "$data/restored"
    trap 'rm -rf "$data/restored"' EXIT
    rclone copyto "snapshots:$from/$name" "$data/restored/appendonly.aof.1.base.rdb"
    # rclone reports no error for a name that does not exist.
    [ -e "$data/restored/appendonly.aof.1.base.rdb" ] || fail "no snapshot $from/$name; see: rungway-redis-snapshot list $from"
    redis-check-rdb "$data/restored/appendonly.aof.1.base.rdb" >/dev/null || fail "$from/$name is damaged"
    # Redis reads the append-only file alone: the snapshot becomes its base.
    echo "file appendonly.aof.1.base.rdb seq 1 type b" >"$data/restored/appendonly.aof.manifest"
    chown -R redis:redis "$data/restored"
    systemctl stop redis-server
    aside=$data/before-restore-$(date --utc +%Y-%m-%dT%H%M%SZ)
    mkdir "$aside"
    for old in appendonlydir dump.rdb; do [ ! -e "$data/$old" ] || mv "$data/$old" "$aside/"; done
    mv "$data/restored" "$data/appendonlydir"
    systemctl start redis-server
    echo "restored $from/$name: $({{ cli }} dbsize) keys; the old data is in $aside"
}

case ${1-take} in
take) environment && take ;;
list) environment && rclone lsf "snapshots:${2-$server}" ;;
restore) [ $# -ge 2 ] || fail "restore what? see --help"; environment && restore "$2" "${3-$server}" ;;
-h | --help) usage ;;
*) usage >&2; exit 2 ;;
esac
