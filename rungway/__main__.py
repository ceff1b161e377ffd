"""Entry of the `rungway` command: runs the command line and turns every expected failure into one line and an exit code."""

import os
import sys

import click

from rungway.cli import cli
from rungway.errors import RungwayError


def main() -> None:
    """Run the command line. A closed pipe and Ctrl-C end it quietly, with the exit codes that shells expect."""
    try:
        cli.main(prog_name="rungway", standalone_mode=False)
        sys.stdout.flush()
    except (click.exceptions.Abort, KeyboardInterrupt):
        _end("interrupted", 130)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except BrokenPipeError:
        # The reader has gone (`rungway plan phase2 | head`). Python would complain again when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
    except RungwayError as error:
        _end("\n".join([f"error: {error}", *([f"hint: {error.hint}"] if error.hint else [])]), error.exit_code)


def _end(message: str, code: int) -> None:
    click.echo(message, err=True)
    sys.exit(code)


if __name__ == "__main__":
    main()
