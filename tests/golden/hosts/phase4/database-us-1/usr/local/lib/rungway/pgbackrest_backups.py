"""Turns what `pgbackrest --output=json info` says into a line a backup: kind, Unix time of its end, bytes, timeline, state.

pgBackRest itself ends with 0 when the repository can't be read.
"""

import json
import sys

READABLE = range(4)
"""Status codes of a repository that was read: with backups, without a stanza, without a backup, without the stanza's data."""

# Not strict: an error's text may hold what came out of a wrong decryption.
for stanza in json.loads(sys.stdin.read(), strict=False):
    if stanza["status"]["code"] not in READABLE:
        sys.exit("; ".join(repository["status"]["message"] for repository in stanza["repo"]))
    for backup in stanza["backup"]:
        kind = "full" if backup["type"] == "full" else "incremental"
        # Pages with wrong checksums are an error here, and none of the backup that met them.
        state = "damaged" if backup["error"] else "intact"
        # The name of a segment begins with its timeline.
        print(kind, backup["timestamp"]["stop"], backup["info"]["size"], backup["archive"]["stop"][:8], state)
