#!/bin/bash
# Copies the data of the first region's primary into a directory beside, which takes its place when it is whole.
set -eu
data={{ data }}
if [ -e "$data/PG_VERSION" ]; then
    echo "$data: found a database; a copy never replaces one" >&2
    exit 1
fi
rm -rf "$data.copy"
{{ programs }}/pg_basebackup --no-password --checkpoint=fast --pgdata="$data.copy" --dbname='{{ connection }}'
cd "$data.copy"
# The configuration is this server's own: what came along belongs to the primary, or to its Patroni.
rm -f ./*.conf ./*.conf.backup patroni.dynamic.json
: >postgresql.auto.conf
: >standby.signal
sync
mv --no-target-directory "$data.copy" "$data"
sync
