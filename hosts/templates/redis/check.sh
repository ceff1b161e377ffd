#!/bin/bash
# Does the program start with these settings? It does so on a socket of its own, without ports and without data, as the user that it
# will be. Arguments: the program, then its own.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
chown redis: "$work"
touch "$work/state.conf" && chown redis: "$work/state.conf"
setpriv --reuid=redis --regid=redis --groups=tls-key "$1" "$work/state.conf" "${@:2}" --port 0 --tls-port 0 --unixsocket "$work/socket" \
    --dir "$work" --appendonly no --supervised no --daemonize no >"$work/log" 2>&1 &
for _ in {1..200}; do
    if [ -S "$work/socket" ]; then
        kill $! && wait $!
        exit
    fi
    kill -0 $! 2>/dev/null || break
    sleep 0.05
done
kill $! 2>/dev/null || true
cat "$work/log" >&2
exit 1
