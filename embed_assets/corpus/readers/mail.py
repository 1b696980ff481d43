"""Mail messages."""

import contextlib
import email
import re
from email import policy
from email.message import EmailMessage, MIMEPart

from embed_assets.corpus.encodings import BinaryDataError, byte_order_mark, decode
from embed_assets.corpus.readers.converted import Converted, UnreadableError
from embed_assets.corpus.readers.html import read_html

DEEPEST_FORWARD = 10
_HEAD_END = re.compile(rb"\r?\n\r?\n")


def read_mail(content: bytes) -> Converted:
    """Subject, sender, receivers and date of a message, its text, and the messages that it forwards.

    Attached files are named and left out.
    """
    if byte_order_mark(content):  # saved by an editor
        content = decode(content)[0].encode()
    message = email.message_from_bytes(_with_plain_head(content), policy=policy.default)
    if not isinstance(message, EmailMessage) or not message.keys():
        raise UnreadableError("no mail message")
    notes: list[str] = []
    attached: list[str] = []
    text = _message(message, notes, attached)
    notes += [f"attached files left out: {', '.join(attached)[:300]}"] if attached else []
    return Converted(text, _header(message, "Subject"), markdown=False, notes=tuple(dict.fromkeys(notes)))


def _with_plain_head(content: bytes) -> bytes:
    """The message with a head in UTF-8: old programs wrote it in the encoding of the text, and said so nowhere."""
    end = _HEAD_END.search(content)
    head = content[: end.start()] if end else content
    with contextlib.suppress(BinaryDataError):
        text, _ = decode(head, decode(content)[1])
        return text.encode() + content[len(head) :]
    return content


def _message(message: EmailMessage, notes: list[str], attached: list[str], depth: int = 0) -> str:
    head = [f"{name}: {value}" for name in ("From", "To", "Cc", "Date") if (value := _header(message, name))]
    parts = [_header(message, "Subject"), "\n".join(head)]
    bodies = (_text(body, notes) for kind in ("plain", "html") if (body := message.get_body((kind,))) is not None)
    # Senders of HTML leave the plain text that should stand in for it empty.
    parts.append(next(filter(None, bodies), ""))
    for part in message.iter_attachments() if message.is_multipart() else ():
        inner = part.get_payload()
        forwarded = inner[0] if isinstance(inner, list) and inner else None
        if part.get_content_type() == "message/rfc822" and isinstance(forwarded, EmailMessage) and depth < DEEPEST_FORWARD:
            parts.append(_message(forwarded, notes, attached, depth + 1))
        elif part.get_content_type() in ("text/plain", "text/html") and not part.get_filename() and not part.is_attachment():
            parts.append(_text(part, notes))
        else:
            attached.append(part.get_filename() or part.get_content_type())
    return "\n\n".join(filter(None, parts))


def _text(part: MIMEPart, notes: list[str]) -> str:
    decoded = part.get_payload(decode=True)
    payload = decoded if isinstance(decoded, bytes) else b""
    if part.get_content_type() == "text/html":
        return read_html(payload).text
    body, encoding = decode(payload, part.get_content_charset())
    notes += [f"read as {encoding}"] if encoding else []
    return body.replace("\r\n", "\n").strip()


def _header(message: EmailMessage, name: str) -> str:
    try:
        return " ".join(str(message.get(name, "")).split())
    except Exception:  # the parser of headers raises what it likes on malformed ones
        return ""
