"""Messages of others, without what is secret."""

import json
import os
import re
import textwrap
from urllib.parse import quote, quote_plus

LONGEST_MESSAGE = 300  # characters
# In the name of a parameter of an address that is secret.
SECRET_NAME = "key|token|secret|passw|pwd|credential|signature|auth"
USER = re.compile(r"(?<=://)[^/?#\s'\"]*@")
PARAMETER = re.compile(rf"([?&;](?:[\w.-]{{0,99}}(?:{SECRET_NAME})[\w.-]{{0,99}}|sig)=)[^&;#\s'\"]+", re.IGNORECASE)
# AWS_SECRET_ACCESS_KEY and API_KEY_2, but not KEYBOARD_LAYOUT and TOKENIZERS_PARALLELISM.
VARIABLE = re.compile(
    r"(?:(?:key|token|secret|password|passwd|passphrase|pwd|credential|signature)s?|(?:^|_)sas)(?:_|$)", re.IGNORECASE
)
SHORTEST_OF_ENVIRONMENT = 8  # characters
BEARER = re.compile(r"(?<=bearer )[!-~]+", re.IGNORECASE)


def without_secrets(message: object, *secrets: str) -> str:
    """A message, shortened to one line, in which nothing secret stands; arguments as of hide_secrets."""
    return textwrap.shorten(hide_secrets(message, *secrets), LONGEST_MESSAGE, placeholder=" …")


def hide_secrets(message: object, *secrets: str) -> str:
    """A message in which nothing secret stands: gateways repeat keys, errors repeat addresses, and S3 repeats a session's token.

    Args:
        message: a text, or an exception.
        secrets: keys, beside those of the environment; an empty one is none.
    """
    text = str(message)
    for secret in filter(None, (*secrets, *_of_environment())):
        written = {
            secret,
            # A variable may hold bytes that are no UTF-8.
            quote(secret, errors="surrogateescape"),
            quote(secret, safe="", errors="surrogateescape"),
            quote_plus(secret, errors="surrogateescape"),
            json.dumps(secret)[1:-1],
            repr(secret)[1:-1],
        }
        for form in sorted(written, key=len, reverse=True):
            # The password postgres is no part of postgresql://; what has a digit or a sign is no part of a word.
            text = re.sub(rf"\b{form}\b", "…", text) if form.isalpha() else text.replace(form, "…")
    return BEARER.sub("…", PARAMETER.sub(r"\1…", USER.sub("…@", text)))


def tells_a_secret(error: BaseException | None) -> bool:
    """Whether something secret stands in an error or one of its causes, which are shown with it."""
    while error is not None:
        if hide_secrets(error) != str(error):
            return True
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return False


def _of_environment() -> list[str]:
    """The values of variables that are secret by their names.

    A path is none, nor is a number, such as a limit of tokens; and a short word may stand in any message.
    """
    named = (value.strip() for name, value in os.environ.items() if VARIABLE.search(name))
    return [
        value for value in named if len(value) >= SHORTEST_OF_ENVIRONMENT and not value.startswith("/") and not value.isdecimal()
    ]
