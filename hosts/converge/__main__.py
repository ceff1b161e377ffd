"""`python -m hosts.converge`: converges one server, as the JSON request on standard input says, and prints the result as JSON.

This is what `pulumi up` runs for every server. The request holds secrets, which is why it comes this way and not by arguments.
"""

import os
import signal
import sys

INTERRUPTED = b"interrupted: the server ends the service that is under way. Run it again: it goes on with what is not done yet.\n"


def _interrupted(number: int, _: object) -> None:
    """Ends at once: an exception would show in whatever thread of the connection happens to run."""
    os.write(2, INTERRUPTED)
    os._exit(128 + number)


def main() -> int:
    """Converge and print the result. Exits with 1 and one error when the server is not as asked."""
    signal.signal(signal.SIGINT, _interrupted)
    # Here, because they take a third of a second, in which somebody may interrupt too.
    from pydantic import TypeAdapter, ValidationError

    from hosts.converge.request import Request, Result
    from hosts.converge.run import ConvergeError, converge
    from hosts.secrets import MissingValueError

    if sys.stdout is None:
        sys.stderr.write("standard output is closed: needed for the result. Nothing was done.\n")
        return 1
    try:
        request = TypeAdapter(Request).validate_json(sys.stdin.buffer.read() if sys.stdin else b"")
        result = converge(request)
    except ValidationError as error:
        # The input is not repeated: it holds secrets.
        places = ", ".join(".".join(str(part) for part in problem["loc"]) for problem in error.errors(include_input=False))
        sys.stderr.write(f"standard input: not a convergence request: {places or 'no JSON'}\n")
        return 1
    except (ConvergeError, MissingValueError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    try:
        sys.stdout.write(TypeAdapter(Result).dump_json(result).decode() + "\n")
        sys.stdout.flush()
    except OSError as error:
        sys.stderr.write(f"{result.server}: the convergence ended, but its result could not be printed: {error.strerror}\n")
        return 1
    return 0


if __name__ == "__main__":
    code = main()
    sys.stderr.flush()
    # At once: the threads of a connection that went through a jump host can wait for each other for ever when the interpreter ends.
    os._exit(code)
