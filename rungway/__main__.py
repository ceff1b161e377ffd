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
    except (click.exceptions.Abort, KeyboardInterrupt):
        _end("interrupted", 130)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except RungwayError as error:
        _end("\n".join([f"error: {error}", *([f"hint: {error.hint}"] if error.hint else [])]), error.exit_code)
    finally:
        _finish_output()


def _finish_output() -> None:
    """What can't be written is given up: Python would complain of it again when it ends."""
    if sys.stdout is None:
        # It was closed before the program began.
        return
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _end(message: str, code: int) -> NoReturn:
    print(message, file=sys.stderr)
    sys.exit(code)


if __name__ == "__main__":
    main()
