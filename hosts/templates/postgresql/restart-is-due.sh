# Only a running server tells which parameters of the new files it can't take over. One that still recovers is left alone.
if systemctl is-active --quiet {{ unit }} && pg_isready --quiet; then
    # systemd applies limits and sandbox when it starts a server, which writes this file then.
    [ ! {{ drop_in }} -nt {{ pid_file }} ]
    ! {{ psql }} -c "SELECT count(*) FROM pg_file_settings WHERE error IS NOT NULL" | grep --quiet '^[1-9]'
fi
