# Nothing is here yet, or a copy that is not whole.
ours=$(LC_ALL=C {{ programs }}/pg_controldata {{ data }} 2>/dev/null | sed -n 's/^Database system identifier: *//p')
[ -n "$ours" ] || exit 0
# A first region that can't be asked may be the reason why this one was promoted.
theirs=$(psql -XAtwd '{{ connection }} replication=true' -c IDENTIFY_SYSTEM 2>/dev/null | cut -d '|' -f 1)
[ -n "$theirs" ] || exit 0
[ "$ours" = "$theirs" ]
