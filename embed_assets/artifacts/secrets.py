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
    """A message, shortened, in which nothing secret stands: gateways repeat keys, and errors repeat addresses.

    Args:
        message: a text, or an exception.
        secrets: keys; an empty one is none.
    """
    text = str(message)
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
    text = BEARER.sub("…", PARAMETER.sub(r"\1…", USER.sub("…@", text)))
    return textwrap.shorten(text, LONGEST_MESSAGE, placeholder=" …")
