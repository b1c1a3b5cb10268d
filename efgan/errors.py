"""The one exception that a user causes and can mend."""


class UserError(ValueError):
    """Bad input, a missing file or a wrong setting: says what, where, what is accepted and what to do.

    The command line prints it as one line without a traceback and exits with code 2.
    """
