"""What differs between two observations of one connector: usually it is the cause. Pure.

Compared is only what both saw, and only what means something: a banner without its dates and session numbers
(bot/core/probe_result.py), capabilities without their arguments, a certificate as one thing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from bot.core.views import Difference
from knowledge.classify import Stage
from storage.records import ProbeRecord

_SETTINGS = {"smart_hosts": "smart hosts", "port": "port", "tls_setting": "TLS setting", "tls_domain": "TLS domain"}
_NONE = "none"
_FEWER, _MORE = "gone", "not there"
_SAYS_NOTHING = frozenset({"AUTH", "AUTH=LOGIN", "HELP", "ETRN", "VRFY", "EXPN", "TURN", "SIZE"})
"""Capabilities that come and go with the session's state, or that no delivery depends on."""

Fingerprint = Mapping[str, str]


def differences(good: ProbeRecord | None, bad: ProbeRecord | None) -> tuple[Difference, ...]:
    """What the first bad observation shows otherwise than the last good one did, our own settings first."""
    if good is None or bad is None:
        return ()
    before, after = good.fingerprint, dict(bad.fingerprint)
    if bad.stage == Stage.DNS:
        after.setdefault("addresses", _NONE)
    found = [_changed(shown, before.get(key), after.get(key)) for key, shown in _SETTINGS.items()]
    found.append(_listed("MX", _items(before.get("mx")), _items(after.get("mx"))))
    found.append(_listed("DNS answer", _items(before.get("addresses")), _items(after.get("addresses"))))
    found.append(_changed("certificate", certificate(before), certificate(after)))
    if "capabilities" in before and "capabilities" in after:
        found.append(_listed("EHLO answer", capabilities(before), capabilities(after), fewer_only=True))
    found.append(_changed("banner", before.get("banner"), after.get("banner")))
    return tuple(each for each in found if each is not None)


def first_bad(newest_first: Sequence[ProbeRecord]) -> ProbeRecord | None:
    """The first failure of the run that the newest probe belongs to; None while it is fine."""
    found = None
    for probe in newest_first:
        if probe.ok:
            break
        found = probe
    return found


def capabilities(fingerprint: Fingerprint) -> frozenset[str]:
    """The keywords of the EHLO answer that delivery may depend on. A session under TLS proves STARTTLS."""
    words = {item.split(" ", 1)[0] for item in _items(fingerprint.get("capabilities"))}
    proven = {"STARTTLS"} if "certificate" in fingerprint else set()
    return frozenset(word for word in words | proven if word not in _SAYS_NOTHING and not word.startswith("X"))


def same_settings(one: Fingerprint, other: Fingerprint) -> bool:
    """Were both seen with the same settings of the connector?"""
    return all(one.get(key) == other.get(key) for key in _SETTINGS)


def certificate(fingerprint: Fingerprint) -> str | None:
    """A certificate in one line: whose, until when, and enough of its SHA-256 to tell two alike apart."""
    digest = fingerprint.get("certificate")
    if digest is None:
        return None
    until = fingerprint.get("certificate_expires", "")[:10]
    parts = [fingerprint.get("certificate_subject", ""), until and f"until {until}", f"SHA-256 {digest[:8]}…"]
    return ", ".join(filter(None, parts))


def _items(listed: str | None) -> tuple[str, ...]:
    return tuple(listed.split(", ")) if listed else ()


def _changed(what: str, before: str | None, after: str | None) -> Difference | None:
    if before is None or after is None or before == after:
        return None
    return Difference(what=what, before=before, after=after)


def _listed(what: str, before: Iterable[str], after: Iterable[str], *, fewer_only: bool = False) -> Difference | None:
    """Only what came and went; nothing where one of them was not seen, or only more came and that explains nothing."""
    old, new = set(before), set(after)
    gone, came = ", ".join(sorted(old - new)), ", ".join(sorted(new - old))
    if not old or not new or not (gone or (came and not fewer_only)):
        return None
    return Difference(what=what, before=gone or _MORE, after=came or _FEWER)
