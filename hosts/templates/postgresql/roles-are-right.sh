says() { {{ psql }} "$@"; }
# A standby gets all of it from its primary.
if [ "$(says -c 'SELECT pg_is_in_recovery()')" = t ]; then
    exit 0
fi

wrong=$(says <<'SQL'
{% for role in roles %}
SELECT 'role {{ role.name }}' WHERE NOT EXISTS (
    SELECT FROM pg_roles AS role
    WHERE rolname = '{{ role.name }}' AND rolcanlogin AND rolreplication = {{ role.replication | lower }}
        AND NOT (rolsuper OR rolcreaterole OR rolcreatedb OR rolbypassrls)
        AND ARRAY(SELECT roleid::regrole::text FROM pg_auth_members WHERE member = role.oid)
            @> ARRAY[{% for group in role.member_of %}'{{ group }}'{{ "" if loop.last else ", " }}{% endfor %}]::text[]
        AND coalesce(rolconfig, '{}')
            @> ARRAY[{% for setting in role.settings %}'{{ setting.name }}={{ setting.value }}'{{ "" if loop.last else ", " }}{% endfor %}]::text[]
);
{% endfor %}
SELECT 'database' WHERE NOT EXISTS (
    SELECT FROM pg_database
    WHERE datname = 'application' AND datdba = to_regrole('application') AND datacl IS NOT NULL
        AND NOT EXISTS (SELECT FROM aclexplode(datacl) WHERE grantee = 0)
        AND has_database_privilege('monitoring', oid, 'CONNECT')
{% if pgbouncer %}
        AND has_database_privilege('pgbouncer', oid, 'CONNECT')
{% endif %}
);
SELECT 'extension' WHERE NOT EXISTS (SELECT FROM pg_extension WHERE extname = 'pg_stat_statements');
{% if rewind %}
SELECT 'rewind' WHERE NOT (
    has_function_privilege('rewind', 'pg_ls_dir(text, boolean, boolean)', 'EXECUTE')
    AND has_function_privilege('rewind', 'pg_stat_file(text, boolean)', 'EXECUTE')
    AND has_function_privilege('rewind', 'pg_read_binary_file(text)', 'EXECUTE')
    AND has_function_privilege('rewind', 'pg_read_binary_file(text, bigint, bigint, boolean)', 'EXECUTE')
);
{% endif %}
SQL
)
[ -z "$wrong" ]
{% if pgbouncer %}
wrong=$(says -d application <<'SQL'
SELECT 'lookup' WHERE NOT EXISTS (
    SELECT FROM pg_proc
    WHERE oid = to_regprocedure('pgbouncer.user_lookup(text)') AND prosecdef AND proconfig = ARRAY['search_path=pg_catalog']
        AND proacl IS NOT NULL AND NOT EXISTS (SELECT FROM aclexplode(proacl) WHERE grantee = 0)
        AND has_function_privilege('pgbouncer', oid, 'EXECUTE')
);
SQL
)
[ -z "$wrong" ]
{% endif %}

passwords=$(mktemp)
trap 'rm -f "$passwords"' EXIT
cat >"$passwords" <<'PASSWORDS'
{% for role in roles %}
127.0.0.1:5432:*:{{ role.name }}:{{ role.password }}
{% endfor %}
PASSWORDS
export PGPASSFILE="$passwords" PGCONNECT_TIMEOUT=10
server="host=127.0.0.1 port=5432 sslmode=verify-full sslrootcert={{ authority }}"
{% for role in roles %}
{% if role.replication %}
psql -Xwqd "$server user={{ role.name }} replication=true" -c IDENTIFY_SYSTEM >/dev/null
{% else %}
psql -Xwqd "$server user={{ role.name }} dbname={{ role.database }}" -c 'SELECT 1' >/dev/null
{% endif %}
{% endfor %}
