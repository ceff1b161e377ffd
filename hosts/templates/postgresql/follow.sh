#!/bin/bash
# A standby may have received what the server that became the primary had not. Then their histories differ from there on, and it waits for
# ever. It is taken back to the point where they were one, as Patroni does in its own region: what is given up no primary has.
set -eu -o pipefail
says() { runuser -u postgres -- psql -XAtqw -d postgres -v ON_ERROR_STOP=1 -c "$1"; }
asks() { psql -XAtqwd '{{ stream }} replication=true' -c "$1"; }

data={{ data }}
# While this is there PostgreSQL does not start: half taken back, and without the sign of a standby, it would be a broken primary.
if [ ! -e "$data.rewinding" ]; then
    waits=$(says "SELECT pg_is_in_recovery() AND NOT EXISTS (SELECT FROM pg_stat_wal_receiver WHERE status = 'streaming')") || exit 0
    [ "$waits" = t ] || exit 0
    theirs=$(asks IDENTIFY_SYSTEM | cut -d '|' -f 2) || exit 0
    # The name of a segment begins with its timeline.
    ours=$(says "SELECT max(('x' || left(name, 8))::bit(32)::int) FROM pg_ls_waldir() WHERE name ~ '^[0-9A-F]{24}$'")
    [ "$ours" != "$theirs" ] || exit 0
    # A line for each timeline before the primary's: its number, where it was left, and why.
    left=$(asks "TIMELINE_HISTORY $theirs" | sed 's/^[^|]*|//' | awk -v ours="$ours" '$1 == ours { print $2 }')
    if [ -n "$left" ]; then
        ahead=$(says "SELECT greatest(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn()) > '$left'")
        [ "$ahead" = t ] || exit 0
    fi
    echo "<5>Timeline $ours went on after ${left:-its beginning}, where the primary's timeline $theirs left it: going back."
    : >"$data.rewinding"
    systemctl stop postgresql@{{ version }}-main
fi
runuser -u postgres -- {{ programs }}/pg_rewind --target-pgdata="$data" --source-server='{{ source }}' \
    --config-file={{ configuration }}{{ " --restore-target-wal" if archive else "" }} 2>&1 | sed 's/^/<5>/'
cd "$data"
# What came along with the primary's files is not this server's.
rm -f ./*.conf ./*.conf.backup patroni.dynamic.json
runuser -u postgres -- touch postgresql.auto.conf standby.signal
sync
rm "$data.rewinding"
systemctl start postgresql@{{ version }}-main
