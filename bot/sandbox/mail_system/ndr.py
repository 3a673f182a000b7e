"""Non-delivery reports as RFC 3464 wants them: a human part, a delivery-status part, the original's headers. Pure."""

from __future__ import annotations

import re
from datetime import datetime
from email import message_from_bytes
from email.message import Message as Mail
from email.mime.base import MIMEBase
from email.mime.multipart import MIMEMultipart
from email.mime.text import MIMEText
from email.utils import format_datetime

from bot.sandbox.mail_system.model import Entry, header

_ENHANCED = re.compile(r"\b5\.\d{1,3}\.\d{1,4}\b|\b4\.4\.7\b")


def enhanced_code(diagnostic: str) -> str:
    """The enhanced code in a bounce's text; the registry's "other" if it holds none."""
    found = _ENHANCED.search(diagnostic)
    return found.group() if found else "5.0.0"


def report(entry: Entry, diagnostic: str, now: datetime, reporting_mta: str) -> bytes:
    """The NDR for one recipient of one message, as it goes back to the sender."""
    mail = MIMEMultipart("report", report_type="delivery-status")
    header(mail, "From", f"Mail Delivery System <postmaster@{reporting_mta}>")
    header(mail, "To", entry.message.sender)
    header(mail, "Subject", f"Undeliverable: {entry.message.subject}")
    header(mail, "Date", format_datetime(now))
    header(mail, "Auto-Submitted", "auto-replied")
    mail.attach(MIMEText(_human(entry, diagnostic), "plain", "utf-8"))
    mail.attach(_status(entry, diagnostic, now, reporting_mta))
    mail.attach(_original_headers(entry))
    return mail.as_bytes()


def _human(entry: Entry, diagnostic: str) -> str:
    return f"Your message to {entry.recipient} couldn't be delivered.\n\n{diagnostic}\n"


def _status(entry: Entry, diagnostic: str, now: datetime, reporting_mta: str) -> Mail:
    message, recipient = Mail(), Mail()
    header(message, "Reporting-MTA", f"dns; {reporting_mta}")
    header(message, "Arrival-Date", format_datetime(entry.message.received_at))
    header(recipient, "Final-Recipient", f"rfc822; {entry.recipient}")
    header(recipient, "Action", "failed")
    header(recipient, "Status", enhanced_code(diagnostic))
    header(recipient, "Diagnostic-Code", f"smtp; {diagnostic}")
    header(recipient, "Last-Attempt-Date", format_datetime(entry.evidence_at or now))
    if entry.remote_host:
        header(recipient, "Remote-MTA", f"dns; {entry.remote_host}")
    part = MIMEBase("message", "delivery-status")
    part.set_payload([message, recipient])
    return part


def _original_headers(entry: Entry) -> Mail:
    original = message_from_bytes(entry.message.content)
    return MIMEText("".join(f"{name}: {value}\n" for name, value in original.items()), "rfc822-headers", "utf-8")
