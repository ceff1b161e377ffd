# wg-quick reads the file to take the link down.
systemctl disable --now {{ unit }}
# One that has failed would go on raising its alert; a pattern may match nothing.
systemctl reset-failed '{{ unit }}*'
! systemctl is-enabled --quiet {{ timer }} || systemctl disable --now {{ timer }}
# What the metrics said last would raise an alert for ever.
rm --force {{ files | join(" ") }}
systemctl daemon-reload
