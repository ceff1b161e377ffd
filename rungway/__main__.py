"""Entry of the `rungway` command: runs the command line and turns every expected failure into one line and an exit code."""

import os
import sys
from typing import NoReturn


def main() -> None:
    """Run the command line. A closed pipe and Ctrl-C end it quietly, with the exit codes that shells expect."""
    try:
        # Here, because they take a tenth of a second, in which somebody may interrupt too.
        import click

        from rungway.cli import cli
        from rungway.errors import RungwayError
    except KeyboardInterrupt:
        _end("interrupted", 130)
    try:
        cli.main(prog_name="rungway", standalone_mode=False)
        sys.stdout.flush()
    except (click.exceptions.Abort, KeyboardInterrupt):
        _end("interrupted", 130)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except BrokenPipeError:
        # The reader has gone (`rungway plan phase2 | head`).
        _discard_output()
        sys.exit(141)
    except RungwayError as error:
        try:
            sys.stdout.flush()
        except OSError:
            _discard_output()
        _end("\n".join([f"error: {error}", *([f"hint: {error.hint}"] if error.hint else [])]), error.exit_code)


def _discard_output() -> None:
    """What could not be written is given up: Python would complain again when it flushes at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _end(message: str, code: int) -> NoReturn:
    print(message, file=sys.stderr)
    sys.exit(code)


if __name__ == "__main__":
    main()
