"""Runs inside a Debian root (`debian_root.py`): makes what its steps say with the code that converges servers, and runs their commands.

Steps come as JSON on standard input; the answers go to standard output.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import agent  # type: ignore[import-not-found]

SAID_CHARACTERS = 3000
SECONDS = 60


def main() -> None:
    """Take all steps."""
    os.umask(0o077)
    answers = []
    for step in json.load(sys.stdin):
        for account in step["accounts"]:
            agent._make_account({**account, "groups": list(account["groups"])})
        for directory in step["directories"]:
            agent._make_directory(directory)
        for file in step["files"]:
            _write(file)
        answers += [_run(command) for command in step["commands"]]
    json.dump(answers, sys.stdout)


def _write(file: dict[str, Any]) -> None:
    path = Path(file["path"])
    agent._make_parents(path.parent)
    path.unlink(missing_ok=True)
    path.write_text(file["content"])
    agent._own(path, file)


def _run(command: dict[str, str]) -> dict[str, Any]:
    # To a file: a command that leaves a daemon behind must not keep us waiting for the end of a pipe.
    with Path("/run/said").open("w+", errors="replace") as said:
        try:
            code = subprocess.run(
                ["bash", "-euc", command["script"]], cwd="/", stdin=subprocess.DEVNULL, stdout=said, stderr=said, timeout=SECONDS
            ).returncode
        except subprocess.TimeoutExpired:
            code = 124
        said.seek(0)
        return {"name": command["name"], "code": code, "said": said.read()[-SAID_CHARACTERS:].strip()}


if __name__ == "__main__":
    main()
