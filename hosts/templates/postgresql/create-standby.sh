data={{ data }}
if [ ! -f "$data/PG_VERSION" ]; then
    status=0
    timeout {{ seconds }} systemctl start {{ unit }} || status=$?
    if [ "$status" = 124 ]; then
        echo "The first region's database is still being copied: it goes on by itself ($(du -sh "$data.copy" | cut -f 1) so far). Converge again" \
            "when \`systemctl is-active {{ unit }}\` says inactive."
        exit 1
    elif [ "$status" != 0 ]; then
        echo "The first region's database can't be copied; are its servers up, and reached from here?"
        journalctl --unit {{ unit }} --lines 12 --no-pager --output cat
        exit 1
    fi
fi
if [ -f /etc/postgresql/{{ version }}/main/postgresql.conf ]; then
    exit 0
fi
