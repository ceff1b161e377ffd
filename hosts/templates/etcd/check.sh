#!/bin/bash
# Is the configuration of etcd good? etcd has no dry run, so it starts for a moment, without data and in a network of its own.
set -eu
trial=$(mktemp -d)
trap 'rm -rf "$trial"' EXIT
sed "s#^data-dir: .*#data-dir: $trial/data#" /etc/etcd/etcd.yml >"$trial/etcd.yml"
mkfifo "$trial/said"
# shellcheck disable=SC2016 # The inner shell expands it.
unshare --net bash -eu -c '
    ip link set lo up
    ip address add {{ address }}/32 dev lo
    exec timeout 20 etcd --config-file "$1"
' check "$trial/etcd.yml" >"$trial/said" 2>&1 &
etcd=$!
said=""
while IFS= read -r line; do
    said+="$line"$'\n'
    if [[ $line == *"now serving peer/client/metrics"* ]]; then
        kill "$etcd"
        wait "$etcd" || true
        exit 0
    fi
done <"$trial/said"
printf "%s" "$said" | tail -n 3 >&2
exit 1
