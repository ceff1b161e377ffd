"""Turns what `pgbackrest --output=json info` says into a line a backup: full or incremental, Unix time of its end, restored bytes."""

import json
import sys

for stanza in json.load(sys.stdin):
    for backup in stanza["backup"]:
        if not backup["error"]:
            print("full" if backup["type"] == "full" else "incremental", backup["timestamp"]["stop"], backup["info"]["size"])
