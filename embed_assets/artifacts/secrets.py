"""Messages of others, without what is secret."""

import json
import re
import textwrap
from urllib.parse import quote, quote_plus

LONGEST_MESSAGE = 300  # characters
USER = re.compile(r"(?<=://)[^/?#\s'\"]*@")
PARAMETER = re.compile(
    r"([?&;](?:[\w.-]*(?:key|token|secret|passw|pwd|credential|signature|auth)[\w.-]*|sig)=)[^&;#\s'\"]+", re.IGNORECASE
)
BEARER = re.compile(r"(?<=bearer )[!-~]+", re.IGNORECASE)


def without_secrets(message: object, *secrets: str) -> str:
    """A message, shortened to one line, in which nothing secret stands: gateways repeat keys, and errors repeat addresses.

    Args:
        message: a text, or an exception.
        secrets: keys; an empty one is none.
    """
    return textwrap.shorten(hide_secrets(str(message), *secrets), LONGEST_MESSAGE, placeholder=" …")


def hide_secrets(text: str, *secrets: str) -> str:
    """A text without these keys, and without what is secret in addresses and headers; all else of it stays."""
    for secret in filter(None, secrets):
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
