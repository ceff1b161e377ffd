#!/bin/bash
# Is etcd healthy? As long as fewer than a majority of the members can be reached it can't be: then it is enough that it runs.
set -u
reachable=0
for address in {{ addresses | join(" ") }}; do
    timeout 2 bash -c "exec 3<>/dev/tcp/$address/2380" 2>/dev/null && reachable=$((reachable + 1))
done
if [ "$reachable" -lt {{ majority }} ]; then
    exec systemctl is-active --quiet etcd
fi
exec etcdctl --endpoints https://127.0.0.1:2379 --cacert /etc/rungway/tls/authority.crt \
    --cert /etc/rungway/tls/server.crt --key /etc/rungway/tls/server.key endpoint health
