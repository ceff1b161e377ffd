pg_isready -q -h {{ address }}
[ "$({{ psql }} -c 'SELECT count(*) FROM pg_hba_file_rules WHERE error IS NOT NULL')" = 0 ]
