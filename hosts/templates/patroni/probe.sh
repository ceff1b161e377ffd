#!/bin/bash
# Does PostgreSQL run under Patroni, or is its data being copied? Without a majority of etcd Patroni waits: then it is enough that it runs.
set -u
etcdctl --endpoints https://127.0.0.1:2379 --cacert /etc/rungway/tls/authority.crt \
    --cert /etc/rungway/tls/server.crt --key /etc/rungway/tls/server.key endpoint health >/dev/null 2>&1 ||
    exec systemctl is-active --quiet patroni
state=$(curl --silent --max-time 5 --cacert /etc/rungway/tls/authority.crt https://{{ address }}:8008/patroni)
[[ $state =~ \"state\":\ \"(running|streaming|in\ archive\ recovery|creating\ replica)\" ]]
