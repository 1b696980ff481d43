"""Mail messages."""

import email
from email import policy
from email.message import EmailMessage

from embed_assets.corpus.encodings import decode
from embed_assets.corpus.readers.converted import Converted, UnreadableError
from embed_assets.corpus.readers.html import read_html


def read_mail(content: bytes) -> Converted:
    """Subject, sender, receivers and date of a message, and its text; attached files are named and left out."""
    message = email.message_from_bytes(content, policy=policy.default)
    if not isinstance(message, EmailMessage) or not message.keys():
        raise UnreadableError("no mail message")
    head = [f"{name}: {value}" for name in ("From", "To", "Cc", "Date") if (value := _header(message, name))]
    body, notes = "", []
    part = message.get_body(("plain", "html"))
    if part is not None:
        payload = part.get_payload(decode=True) or b""
        if part.get_content_type() == "text/html":
            body = read_html(payload).text
        else:
            body, encoding = decode(payload, part.get_content_charset())
            notes += [f"read as {encoding}"] if encoding else []
    attached = [item.get_filename() or item.get_content_type() for item in message.iter_attachments()]
    notes += [f"attached files left out: {', '.join(attached)[:300]}"] if attached else []
    subject = _header(message, "Subject")
    text = "\n\n".join(filter(None, [subject, "\n".join(head), body.replace("\r\n", "\n").strip()]))
    return Converted(text, subject, markdown=False, notes=tuple(notes))


def _header(message: EmailMessage, name: str) -> str:
    try:
        return " ".join(str(message.get(name, "")).split())
    except Exception:  # the parser of headers raises what it likes on malformed ones
        return ""
