#!/bin/bash
# Is the configuration of Patroni good? That another member of etcd can't be reached says nothing about it: it may not exist yet.
set -u
said=$(runuser -u postgres -- patroni --validate-config --ignore-listen-port {{ config }} 2>&1) && exit 0
wrong=$(grep -v ' is not reachable$' <<<"$said")
[ -z "$wrong" ] && exit 0
printf '%s\n' "$wrong" >&2
exit 1
