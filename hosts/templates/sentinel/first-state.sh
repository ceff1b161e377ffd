# The primary is the one of this server's Redis, unless another Sentinel has moved it meanwhile.
replication=$({{ redis_cli }} info replication | tr -d '\r')
grep -q '^role:' <<<"$replication"
primary=$(sed -n 's/^master_host://p' <<<"$replication")
[ -n "$primary" ] || primary={{ address }}
for peer in {{ peers | join(" ") }}; do
    known=$(timeout 5 {{ cli }} -h "$peer" sentinel get-master-addr-by-name {{ group }} 2>/dev/null | head -n 1 || true)
    if [[ $known =~ ^[0-9a-f.:]+$ ]]; then
        primary=$known
        break
    fi
done
{
    echo "# Rungway wrote this file once. Since then it belongs to Sentinel, which rewrites it."
    echo "sentinel monitor {{ group }} $primary 6379 {{ quorum }}"
} >{{ state_file }}.new
chown redis:redis {{ state_file }}.new
chmod 0640 {{ state_file }}.new
mv {{ state_file }}.new {{ state_file }}
