"""The one kind of error that is the user's to mend."""


class UserError(Exception):
    """The input cannot be used. The message is one line: the requirement, what was received, the remedy.

    `main` functions print it and exit with code 2; every other exception is a bug and keeps its trace.
    """
