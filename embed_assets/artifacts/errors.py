"""Errors that people have to mend."""


class UserError(Exception):
    """Something that a person has to mend: the message says in one line what is wrong and what to do.

    A command ends with that line. An asset ends with it at once, as another try would end the same.
    """
