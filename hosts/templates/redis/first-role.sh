# After a failover the primary is not the one that the settings name: a server that is primary now comes first.
primary={{ "" if primary is none else primary }}
for peer in {{ peers | join(" ") }}; do
    if timeout 5 {{ cli }} -h "$peer" info replication 2>/dev/null | grep -q '^role:master'; then
        primary=$peer
        break
    fi
done
# A replica throws away what its primary lacks: an empty primary in the place of a lost one would delete the last copy.
if [ -z "$primary" ]; then
    for peer in {{ peers | join(" ") }}; do
        keys=$(timeout 5 {{ cli }} -h "$peer" dbsize 2>/dev/null | grep -x '[1-9][0-9]*') || continue
        echo "This Redis is new and empty, and would become the primary of $peer, which would lose its $keys keys. There, first:" \
            "sudo rungway-redis-snapshot && sudo systemctl stop redis-server. Then converge, and restore that snapshot here." >&2
        exit 1
    done
fi
{
    echo "# Rungway wrote this file once. Since then it belongs to Redis and Sentinel, which rewrite it."
    [ -z "$primary" ] || echo "replicaof $primary 6379"
} >{{ role_file }}.new
chown redis:redis {{ role_file }}.new
chmod 0640 {{ role_file }}.new
mv {{ role_file }}.new {{ role_file }}
