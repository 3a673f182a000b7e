"""What the structure of a status code says when no article knows the code (RFC 3463, RFC 5248).

Class, subject and, for the common ones, the detail: enough to tell who should look and where.
"""

from __future__ import annotations

from knowledge.codes import EnhancedStatus, parse

CLASSES = {
    2: "It was delivered",
    4: "It has not been delivered yet; the mail system keeps trying",
    5: "It was refused for good; the mail system does not try again",
}

SUBJECTS = {
    0: "an undefined problem",
    1: "the address of the sender or recipient",
    2: "the recipient's mailbox",
    3: "the receiving mail system itself",
    4: "the network or the routing of mail",
    5: "the SMTP conversation between the two servers",
    6: "the content or format of the message",
    7: "security or a policy",
}

NEXT_STEPS = {
    0: "The code is a collective one: only the words after it tell anything. Look for a second code or reply in them.",
    1: "Check both addresses letter by letter, then whether the recipient exists at the server that answered.",
    2: "Ask the recipient, or whoever runs that mailbox: is it full, disabled or restricted to certain senders?",
    3: "Look at the health of the system that answered: services, disk, memory, limits, maintenance.",
    4: "Follow the way of the message: which server was asked, which DNS answer or connector led there?",
    5: "Get the SMTP dialogue (protocol log): which command was refused? Look for a firewall that alters SMTP.",
    6: "Look at the message itself: size, attachments, headers, line ends. Does a plain new message pass?",
    7: "Find the rule or policy: block lists, SPF, DKIM, DMARC, relay rights, certificates, restrictions.",
}
"""Subject → what to look at next when no article knows the code."""

OWNERS: dict[int, tuple[str, ...]] = {
    0: ("partner", "on_premises"),
    1: ("sender", "partner"),
    2: ("partner",),
    3: ("on_premises", "partner"),
    4: ("connector", "dns", "partner"),
    5: ("on_premises", "partner"),
    6: ("sender",),
    7: ("sender", "partner"),
}
"""Subject → who can usually do something about it, likeliest first."""

DETAILS = {
    (1, 0): "Address problem",
    (1, 1): "No such mailbox",
    (1, 2): "No such destination domain or host",
    (1, 3): "Malformed recipient address",
    (1, 4): "Ambiguous recipient address",
    (1, 6): "Mailbox has moved, no forwarding address",
    (1, 7): "Malformed sender address",
    (1, 8): "Sender's domain is not acceptable",
    (1, 10): "Recipient not found in the directory",
    (1, 351): "The remote server does not know the recipient",
    (2, 0): "Mailbox problem",
    (2, 1): "Mailbox disabled or refusing mail",
    (2, 2): "Mailbox full",
    (2, 3): "Message larger than the mailbox allows",
    (2, 4): "Mailing list cannot be expanded",
    (3, 0): "Problem in the receiving mail system",
    (3, 1): "Receiving mail system has no space or resources left",
    (3, 2): "Receiving mail system accepts no mail at present",
    (3, 4): "Message too big for the receiving system",
    (3, 5): "Receiving system is configured wrongly",
    (4, 0): "Network or routing problem",
    (4, 1): "No answer from the destination server",
    (4, 2): "Connection broke",
    (4, 3): "Directory or name server failure",
    (4, 4): "No route for this mail",
    (4, 5): "Mail system congested",
    (4, 6): "Mail loop",
    (4, 7): "Waited too long in the queue",
    (4, 8): "The domain's MTA-STS policy was not met",
    (4, 14): "Mail loop: too many hops",
    (4, 300): "Waited too long in the queue",
    (5, 0): "SMTP conversation failed",
    (5, 1): "SMTP command refused",
    (5, 2): "SMTP syntax error",
    (5, 3): "Too many recipients",
    (5, 4): "Wrong SMTP command arguments",
    (6, 0): "Content problem",
    (6, 1): "Media type not accepted",
    (6, 11): "Invalid characters in the message",
    (7, 0): "Security problem",
    (7, 1): "Not authorised, or refused by policy",
    (7, 3): "Secure exchange between the servers was not possible",
    (7, 4): "A required security feature is missing",
    (7, 5): "Certificate or cryptography failure",
    (7, 26): "Sender failed authentication (SPF, DKIM)",
    (7, 51): "Refused by the receiving tenant's partner connector",
    (7, 57): "Client did not sign in",
    (7, 64): "Relay refused: no inbound connector matches",
    (7, 321): "DANE: the server offers no STARTTLS",
    (7, 322): "DANE: the certificate has expired",
    (7, 323): "DANE: the certificate does not match the TLSA record",
    (7, 324): "DANE: DNSSEC validation failed",
    (7, 325): "DANE: the certificate names another host",
}
"""(subject, detail) → a title in our words; Microsoft's meaning where it differs from the registry's."""

_REPLIES = {"2": "It was accepted", "4": CLASSES[4], "5": CLASSES[5]}


def title_of(code: str | None) -> str | None:
    """A title for this code; None where there is nothing to tell apart (no code, a bare reply)."""
    status = parse(code or "")
    if status is None:
        return None
    known = DETAILS.get((status.subject, status.detail))
    return known or f"Something about {_subject(status)}"


def describe(code: str | None) -> str | None:
    """One or two sentences on what the structure of this code (or bare reply) says; None for no code."""
    if code is None:
        return None
    status = parse(code)
    if status is None:
        return f"The server answered {code} without saying more in a status code. {_REPLIES.get(code[0], 'It failed')}."
    return f"{CLASSES[status.kind]}. The code is about {_subject(status)}."


def owners_of(code: str | None) -> tuple[str, ...] | None:
    """Who can usually act on a code with this subject; None where the code has no structure."""
    status = parse(code or "")
    return OWNERS.get(status.subject) if status else None


def next_step(code: str | None) -> str | None:
    """What to look at next for a code with this subject; None where the code has no structure."""
    status = parse(code or "")
    return NEXT_STEPS.get(status.subject) if status else None


def _subject(status: EnhancedStatus) -> str:
    return SUBJECTS.get(status.subject, "a subject that no standard defines")
