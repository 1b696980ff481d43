"""What can be wrong with a result, said in words.

Each stage writes its findings beside its result; they show as asset checks.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Check:
    """A kind of finding.

    Args:
        description: what is asked for.
        error: whether a failure is an error, or only a warning.
        blocking: whether what lies downstream is not computed after a failure.
    """

    description: str
    error: bool = False
    blocking: bool = False


@dataclass(frozen=True)
class Finding:
    """The outcome of a check, with a message for people."""

    name: str
    passed: bool
    message: str
