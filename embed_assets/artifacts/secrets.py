"""Messages of others, without what is secret."""

import json
import os
import re
import textwrap
from urllib.parse import quote, quote_plus

LONGEST_MESSAGE = 300  # characters
USER = re.compile(r"(?<=://)[^/?#\s'\"]*@")
PARAMETER = re.compile(
    r"([?&;](?:[\w.-]*(?:key|token|secret|passw|pwd|credential|signature|auth)[\w.-]*|sig)=)[^&;#\s'\"]+", re.IGNORECASE
)
VARIABLE = re.compile(r"key|token|secret|passw|pwd|credential|signature|(?:^|_)sas(?:_|$)", re.IGNORECASE)
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
            quote(secret),
            quote(secret, safe=""),
            quote_plus(secret),
            json.dumps(secret)[1:-1],
            repr(secret)[1:-1],
        }
        for form in sorted(written, key=len, reverse=True):
            text = text.replace(form, "…")
    return BEARER.sub("…", PARAMETER.sub(r"\1…", USER.sub("…@", text)))


def _of_environment() -> list[str]:
    """The values of variables that are secret by their names; a path is none, and a short word may stand in any message."""
    named = (value.strip() for name, value in os.environ.items() if VARIABLE.search(name))
    return [value for value in named if len(value) >= SHORTEST_OF_ENVIRONMENT and not value.startswith("/")]
