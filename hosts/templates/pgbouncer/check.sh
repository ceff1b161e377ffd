#!/bin/bash
# PgBouncer has no dry run: a copy of the configuration, with a socket of its own and no port, must start and answer.
set -eu
directory=$(mktemp --directory)
chown postgres:postgres "$directory"
sed -e 's/^listen_addr *=.*/listen_addr =/' -e "s|^unix_socket_dir *=.*|unix_socket_dir = $directory|" \
    {{ configuration }} >"$directory/pgbouncer.ini"
chown postgres:postgres "$directory/pgbouncer.ini"
chmod 600 "$directory/pgbouncer.ini"

setpriv --reuid=postgres --regid=postgres --init-groups pgbouncer "$directory/pgbouncer.ini" >"$directory/log" 2>&1 &
started=$!
trap 'kill "$started" 2>/dev/null || true; rm -rf "$directory"' EXIT

for _ in $(seq 50); do
    if ! kill -0 "$started" 2>/dev/null; then
        break
    fi
    if setpriv --reuid=postgres --regid=postgres --init-groups \
        psql -Xqw -h "$directory" -p 6432 -U pgbouncer -d pgbouncer -c 'SHOW VERSION' >/dev/null 2>&1; then
        exit 0
    fi
    sleep 0.1
done
cat "$directory/log" >&2
exit 1
