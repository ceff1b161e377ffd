# After a failover the primary is not the one that the settings name: a server that is primary now comes first.
primary={{ "" if primary is none else primary }}
for peer in {{ peers | join(" ") }}; do
    if timeout 5 {{ cli }} -h "$peer" info replication 2>/dev/null | grep -q '^role:master'; then
        primary=$peer
        break
    fi
done
{
    echo "# Rungway wrote this file once. Since then it belongs to Redis and Sentinel, which rewrite it."
    [ -z "$primary" ] || echo "replicaof $primary 6379"
} >{{ role_file }}.new
chown redis:redis {{ role_file }}.new
chmod 0640 {{ role_file }}.new
mv {{ role_file }}.new {{ role_file }}
