data={{ data }}
# A volume brings the cluster of an earlier server along. The account may have another number here, and what was in /etc is gone.
if [ -f "$data/PG_VERSION" ]; then
    for file in postgresql.conf pg_hba.conf pg_ident.conf; do
        if [ ! -e "$data/$file" ]; then
            : >"$data/$file"
        fi
    done
    chown --recursive postgres:postgres "$data"
fi
pg_createcluster --datadir="$data" --port=5432 --start-conf=auto --encoding=UTF8 --locale=C.UTF-8 {{ version }} main \
    -- --data-checksums --auth-local=peer --auth-host=scram-sha-256
