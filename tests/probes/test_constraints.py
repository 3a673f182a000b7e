"""Authorities that vouch for more than they may, as faults of the chain."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from ipaddress import ip_address, ip_network

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from bot.probes.certificate import Wanted, judge_chain
from bot.probes.truststore import TrustStore

NOW = datetime(2026, 6, 1, tzinfo=UTC)
DNS, IP, MAIL = x509.DNSName, x509.IPAddress, x509.RFC822Name


class Authority:
    """A CA, made by another or by itself."""

    def __init__(self, name: str, parent: Authority | None = None, *, length: int | None = None) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.parent = parent or self
        self.name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        self.length = length

    def certificate(self, *extra: x509.ExtensionType) -> x509.Certificate:
        return signed(self.name, self, self.parent, x509.BasicConstraints(ca=True, path_length=self.length), *extra)


def signed(name: x509.Name, subject: Authority, by: Authority, *extensions: x509.ExtensionType) -> x509.Certificate:
    days = timedelta(days=90)
    builder = x509.CertificateBuilder(by.name, name, subject.key.public_key(), 7, NOW - days, NOW + days)
    for each in extensions:
        builder = builder.add_extension(each, critical=False)
    return builder.sign(by.key, hashes.SHA256())


def faults(leaf: x509.Certificate, others: list[x509.Certificate], root: x509.Certificate) -> list[tuple[str, str]]:
    chain = [c.public_bytes(serialization.Encoding.DER) for c in (leaf, *others)]
    view = judge_chain(chain, Wanted(None), TrustStore([root]), NOW)
    return [(f.cause, f.detail) for f in view.faults]


ROOT = Authority("Root")
MIDDLE = Authority("Middle", ROOT)


@pytest.mark.parametrize(
    ("permitted", "excluded", "names", "bad"),
    [
        ([DNS("contoso.test")], None, [DNS("mail.contoso.test"), DNS("CONTOSO.test")], None),
        ([DNS("contoso.test")], None, [DNS("mail.contoso.test"), DNS("mail.fabrikam.test")], "mail.fabrikam.test"),
        ([DNS("contoso.test")], None, [DNS("notcontoso.test")], "notcontoso.test"),
        ([DNS(".contoso.test")], None, [DNS("contoso.test")], "contoso.test"),
        ([DNS(".contoso.test")], None, [DNS("a.contoso.test")], None),
        ([DNS("")], None, [DNS("a.contoso.test")], None),
        (None, [DNS("eu.contoso.test")], [DNS("mx.contoso.test")], None),
        (None, [DNS("eu.contoso.test")], [DNS("mx.eu.contoso.test")], "mx.eu.contoso.test"),
        ([IP(ip_network("192.0.2.0/24"))], None, [IP(ip_address("192.0.2.9")), DNS("any.test")], None),
        ([IP(ip_network("192.0.2.0/24"))], None, [IP(ip_address("198.51.100.9"))], "198.51.100.9"),
        ([IP(ip_network("192.0.2.0/24"))], None, [IP(ip_address("2001:db8::9"))], "2001:db8::9"),
        ([MAIL("contoso.test")], None, [DNS("any.test")], None),
    ],
)
@pytest.mark.parametrize("at_root", [False, True])
def test_an_authority_vouches_only_for_its_own_names(
    permitted, excluded, names, bad: str | None, at_root: bool
) -> None:
    limits = x509.NameConstraints(permitted, excluded)
    root, middle = (ROOT.certificate(*(limits,) * at_root), MIDDLE.certificate(*(limits,) * (not at_root)))
    leaf = signed(MIDDLE.name, Authority("leaf"), MIDDLE, x509.SubjectAlternativeName(names))
    who = "Root" if at_root else "Middle"
    found = [("cert_untrusted", f"CN={who} may not vouch for {bad}")] if bad else []
    assert faults(leaf, [middle], root) == found


@pytest.mark.parametrize(
    ("root", "upper", "bad"),
    [(None, 0, "Upper"), (0, None, "Root"), (1, None, "Root"), (2, 1, None), (None, None, None)],
)
def test_an_authority_stands_above_as_many_as_it_may(root: int | None, upper: int | None, bad: str | None) -> None:
    top = Authority("Root", length=root)
    second = Authority("Upper", top, length=upper)
    third = Authority("Lower", second)
    leaf = signed(third.name, Authority("leaf"), third, x509.SubjectAlternativeName([DNS("mail.test")]))
    words = "may not stand above so many other authorities"
    found = [("cert_purpose", f"CN={bad} {words}")] if bad else []
    assert faults(leaf, [third.certificate(), second.certificate()], top.certificate()) == found
    assert faults(leaf, [second.certificate(), top.certificate(), third.certificate()], top.certificate()) == found


def test_a_certificate_without_names_is_not_constrained() -> None:
    leaf = signed(MIDDLE.name, Authority("leaf"), MIDDLE)
    limits = x509.NameConstraints([DNS("contoso.test")], None)
    assert faults(leaf, [MIDDLE.certificate(limits)], ROOT.certificate()) == []
