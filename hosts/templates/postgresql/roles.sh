{{ psql }} >/dev/null <<'SQL'
-- A password must not stay in the log, nor among the statements that are counted.
SET log_statement = none;
SET log_min_duration_statement = -1;
SET log_min_error_statement = panic;
SET pg_stat_statements.track = none;
SET client_min_messages = warning;
{% for role in roles %}
SELECT 'CREATE ROLE {{ role.name }}' WHERE to_regrole('{{ role.name }}') IS NULL \gexec
ALTER ROLE {{ role.name }} LOGIN NOSUPERUSER NOCREATEROLE NOCREATEDB NOBYPASSRLS
    {{ "REPLICATION" if role.replication else "NOREPLICATION" }} PASSWORD '{{ role.password }}';
{% for group in role.member_of %}
GRANT {{ group }} TO {{ role.name }};
{% endfor %}
{% for setting in role.settings %}
ALTER ROLE {{ role.name }} SET {{ setting.name }} = '{{ setting.value }}';
{% endfor %}
{% endfor %}
SELECT 'CREATE DATABASE application OWNER application' WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = 'application') \gexec
ALTER DATABASE application OWNER TO application;
REVOKE ALL ON DATABASE application FROM PUBLIC;
GRANT CONNECT ON DATABASE application TO monitoring;
CREATE EXTENSION IF NOT EXISTS pg_stat_statements;
{% if rewind %}
-- What pg_rewind needs (PostgreSQL documentation, pg_rewind, Notes).
GRANT EXECUTE ON FUNCTION pg_catalog.pg_ls_dir(text, boolean, boolean) TO rewind;
GRANT EXECUTE ON FUNCTION pg_catalog.pg_stat_file(text, boolean) TO rewind;
GRANT EXECUTE ON FUNCTION pg_catalog.pg_read_binary_file(text) TO rewind;
GRANT EXECUTE ON FUNCTION pg_catalog.pg_read_binary_file(text, bigint, bigint, boolean) TO rewind;
{% endif %}
{% if pgbouncer %}
GRANT CONNECT ON DATABASE application TO pgbouncer;
\connect application
SET client_min_messages = warning;
CREATE SCHEMA IF NOT EXISTS pgbouncer;
-- PgBouncer learns the SCRAM secret of the application's role, and of no other.
CREATE OR REPLACE FUNCTION pgbouncer.user_lookup(name text, OUT uname text, OUT phash text)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog
    AS $$ SELECT usename, passwd FROM pg_shadow WHERE usename = name AND usename = 'application' $$;
REVOKE ALL ON FUNCTION pgbouncer.user_lookup(text) FROM PUBLIC;
GRANT USAGE ON SCHEMA pgbouncer TO pgbouncer;
GRANT EXECUTE ON FUNCTION pgbouncer.user_lookup(text) TO pgbouncer;
{% endif %}
SQL
