ours=$(LC_ALL=C {{ programs }}/pg_controldata {{ data }} | sed -n 's/^Database system identifier: *//p')
theirs=$(psql -XAtwd '{{ connection }} replication=true' -c IDENTIFY_SYSTEM | cut -d '|' -f 1)
echo "{{ data }}: found a database of its own (system identifier $ours); allowed: a copy of the first region's ($theirs)." \
    "Nothing was changed. When nothing in it is needed, stop it, move the directory away and converge again (docs/replication.md)."
exit 1
