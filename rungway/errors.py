"""The error that every verb raises for what a person can put right."""


class RungwayError(Exception):
    """Something expected went wrong. The command line prints the text without a traceback and ends with `exit_code`.

    The message starts with the path of what is wrong (a file, a setting, a stack) and says what was found and what is allowed; `hint` says
    what to do, often a command, or nothing.
    """

    def __init__(self, message: str, *, hint: str = "", exit_code: int = 1) -> None:
        super().__init__(message)
        self.hint = hint
        self.exit_code = exit_code
