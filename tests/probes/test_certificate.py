"""Certificate faults by name, beyond what the sandbox's servers show."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, rsa
from cryptography.x509.oid import AuthorityInformationAccessOID, NameOID
from hypothesis import given
from hypothesis import strategies as st

from bot.probes.certificate import Wanted, judge_chain, matches
from bot.probes.judging import Judge
from bot.probes.revocation import Revocations, load
from bot.probes.truststore import NoTrustStore, TrustStore
from knowledge.classify import Cause

NOW = datetime(2026, 6, 1, tzinfo=UTC)
YEAR = timedelta(days=365)


class Made:
    """A certificate with its key, and how to sign others with it."""

    def __init__(
        self,
        name: str,
        issuer: Made | None = None,
        *,
        key: object = None,
        ca: bool | None = True,
        usage: bool = True,
        sign: bool = True,
        organisation: str | None = None,
        since: datetime = NOW - YEAR,
        until: datetime = NOW + YEAR,
        san: list[x509.GeneralName] | None = None,
        fetch: bool = False,
        algorithm: hashes.HashAlgorithm | None = None,
    ) -> None:
        self.key = key or ec.generate_private_key(ec.SECP256R1())
        attributes = [x509.NameAttribute(NameOID.COMMON_NAME, name)]
        if organisation:
            attributes.append(x509.NameAttribute(NameOID.ORGANIZATION_NAME, organisation))
        subject = x509.Name(attributes)
        signer = issuer or self
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer.certificate.subject if issuer else subject)
            .public_key(self.key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(since)
            .not_valid_after(until)
        )
        if ca is not None:
            builder = builder.add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        if ca and usage:
            flags = dict.fromkeys(
                (
                    *("content_commitment", "key_encipherment", "data_encipherment", "key_agreement"),
                    *("crl_sign", "encipher_only", "decipher_only"),
                ),
                False,
            )
            key_usage = x509.KeyUsage(digital_signature=True, key_cert_sign=sign, **flags)
            builder = builder.add_extension(key_usage, critical=True)
        if san is not None:
            builder = builder.add_extension(x509.SubjectAlternativeName(san), critical=False)
        if fetch:
            where = x509.UniformResourceIdentifier("http://ca.test/issuer.der")
            access = x509.AccessDescription(AuthorityInformationAccessOID.CA_ISSUERS, where)
            builder = builder.add_extension(x509.AuthorityInformationAccess([access]), critical=False)
        self.certificate = builder.sign(signer.key, algorithm or hashes.SHA256())

    @property
    def der(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.DER)


def leaf(issuer: Made | None = None, name: str = "mail.test", **changes: object) -> Made:
    san = changes.pop("san", [x509.DNSName("mail.test" if name != "other.test" else name)])
    return Made(name, issuer, **{"ca": False, "san": san, **changes})


ROOT = Made("Root", organisation="Trusty Inc")
MIDDLE = Made("Middle", ROOT)
TRUST = TrustStore([ROOT.certificate])


def causes(*chain: Made, wanted: str | None = "mail.test", trust: TrustStore = TRUST, now: datetime = NOW) -> list[str]:
    view = judge_chain([c.der for c in chain], Wanted(wanted), trust, now)
    return [f.cause for f in view.faults]


def crl(
    issuer: Made, *revoked: Made, signer: Made | None = None, reason: bool = True
) -> x509.CertificateRevocationList:
    """A list of this issuer that names these certificates."""
    builder = x509.CertificateRevocationListBuilder(issuer.certificate.subject, NOW - YEAR, NOW - timedelta(days=1))
    for each in revoked:
        entry = x509.RevokedCertificateBuilder(each.certificate.serial_number, NOW - timedelta(days=3))
        if reason:
            entry = entry.add_extension(x509.CRLReason(x509.ReasonFlags.key_compromise), critical=False)
        builder = builder.add_revoked_certificate(entry.build())
    return builder.sign((signer or issuer).key, hashes.SHA256())


def test_a_revoked_certificate_is_told_with_date_and_reason() -> None:
    bad = leaf(MIDDLE)
    view = judge_chain([bad.der, MIDDLE.der], Wanted(None), TRUST, NOW, Revocations([crl(MIDDLE, bad)]))
    assert [f.cause for f in view.faults] == [Cause.CERT_REVOKED]
    assert view.faults[0].detail == "CN=mail.test was revoked on 2026-05-29 00:00 UTC (key compromise)"


def test_an_intermediate_can_be_revoked_too_and_a_list_needs_its_issuers_signature() -> None:
    good = leaf(MIDDLE)
    chain = [good.der, MIDDLE.der]
    for lists, found in [
        ([crl(ROOT, MIDDLE, reason=False)], [Cause.CERT_REVOKED]),
        ([crl(MIDDLE, good, signer=ROOT)], []),
        ([crl(MIDDLE, leaf(MIDDLE))], []),
        ([crl(ROOT, good)], []),
    ]:
        view = judge_chain(chain, Wanted(None), TRUST, NOW, Revocations(lists))
        assert [f.cause for f in view.faults] == found


def test_without_the_issuers_certificate_the_list_is_believed() -> None:
    bad = leaf(MIDDLE)
    view = judge_chain([bad.der], Wanted(None), TRUST, NOW, Revocations([crl(MIDDLE, bad)]))
    assert [f.cause for f in view.faults] == [Cause.CERT_REVOKED, Cause.CERT_UNTRUSTED]


@pytest.mark.parametrize("pem", [True, False])
def test_revocation_lists_are_read_from_pem_and_der(tmp_path: Path, pem: bool) -> None:
    bad, path = leaf(MIDDLE), tmp_path / "revoked.crl"
    lists = [crl(ROOT), crl(MIDDLE, bad)] if pem else [crl(MIDDLE, bad)]
    encoding = serialization.Encoding.PEM if pem else serialization.Encoding.DER
    path.write_bytes(b"".join(each.public_bytes(encoding) for each in lists))
    assert load(path).of(bad.certificate, MIDDLE.certificate)
    assert load(None).of(bad.certificate, None) is None


def test_an_unusable_revocation_file_is_told_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(NoTrustStore, match="cannot read the CRL file"):
        load(tmp_path / "absent.crl")
    (tmp_path / "no.crl").write_text("nothing here")
    with pytest.raises(NoTrustStore, match="no revocation list in PEM form"):
        load(tmp_path / "no.crl")


def test_a_judge_remembers_a_chain_until_a_date_passes() -> None:
    end = leaf(MIDDLE, until=NOW + timedelta(days=40))
    chain, judge = [end.der, MIDDLE.der], Judge(TRUST, Revocations())
    first = judge.judge(chain, Wanted(None), NOW)
    assert judge.judge(chain, Wanted(None), NOW) is first
    later = judge.judge(chain, Wanted(None), NOW + timedelta(days=9))
    assert (first.days_left, later.days_left, later.faults) == (40, 31, ())
    causes_at = {n: judge.judge(chain, Wanted(None), NOW + timedelta(days=n)).faults for n in (11, 41, 9)}
    assert [[f.cause for f in faults] for faults in causes_at.values()] == [
        [Cause.EXPIRING_SOON],
        [Cause.CERT_EXPIRED],
        [],
    ]
    assert [f.cause for f in judge.judge(chain, Wanted("x.test"), NOW).faults] == [Cause.CERT_NAME]


def test_what_a_judge_remembers_is_bounded() -> None:
    judge = Judge(TRUST, Revocations(), chains=2)
    for n in range(4):
        judge.judge([leaf(ROOT).der], Wanted(f"{n}.test"), NOW)
    judge.judge([leaf(ROOT).der, *[MIDDLE.der] * 60], Wanted(None), NOW)
    assert len(judge._known) == 2
    never = judge.judge([b"junk"], Wanted(None), NOW)
    assert never.at(NOW + YEAR) is never


def test_a_good_chain_has_no_fault() -> None:
    assert causes(leaf(MIDDLE), MIDDLE) == []
    assert causes(leaf(MIDDLE), MIDDLE, ROOT) == []
    assert causes(leaf(MIDDLE), ROOT, MIDDLE) == []
    assert causes(leaf(ROOT)) == []


def test_a_certificate_that_is_trusted_itself_needs_no_chain() -> None:
    own = leaf()
    assert causes(own, trust=TrustStore([own.certificate])) == []
    assert causes(own) == [Cause.CERT_SELF_SIGNED]


def test_many_faults_are_all_named() -> None:
    bad = leaf(None, "other.test", until=NOW - timedelta(days=1), key=rsa.generate_private_key(65537, 1024))
    assert causes(bad) == [Cause.CERT_EXPIRED, Cause.CERT_NAME, Cause.CERT_SELF_SIGNED, Cause.CERT_WEAK]


@pytest.mark.parametrize(
    ("issuer", "changes", "cause"),
    [
        (MIDDLE, {"fetch": True}, Cause.CERT_MISSING_INTERMEDIATE),
        (MIDDLE, {}, Cause.CERT_UNTRUSTED),
        (Made("Contoso Issuing CA 3"), {}, Cause.CERT_MISSING_INTERMEDIATE),
        (Made("Middle 2", organisation="Trusty Inc"), {}, Cause.CERT_MISSING_INTERMEDIATE),
        (Made("Contoso Root Issuing"), {"fetch": True}, Cause.CERT_UNTRUSTED),
        (Made("Whoever"), {}, Cause.CERT_UNTRUSTED),
    ],
)
def test_a_forgotten_intermediate_is_told_from_an_unknown_authority(
    issuer: Made, changes: dict[str, object], cause: Cause
) -> None:
    assert causes(leaf(issuer, **changes)) == [cause]


def test_a_chain_to_an_unknown_root_is_untrusted() -> None:
    unknown = Made("Unknown Root")
    between = Made("Unknown Issuing CA", unknown)
    assert causes(leaf(between), between) == [Cause.CERT_UNTRUSTED]
    assert causes(leaf(between), between, unknown) == [Cause.CERT_UNTRUSTED]


def test_a_valid_copy_of_an_intermediate_is_preferred_to_an_expired_one() -> None:
    old = Made("Middle", ROOT, key=MIDDLE.key, until=NOW - timedelta(days=1))
    end = leaf(MIDDLE)
    assert causes(end, old, MIDDLE) == []
    assert causes(end, old) == [Cause.CERT_INTERMEDIATE_EXPIRED]


def test_an_expired_root_is_told() -> None:
    assert causes(leaf(ROOT, until=NOW + 3 * YEAR), now=NOW + 2 * YEAR) == [Cause.CERT_INTERMEDIATE_EXPIRED]


@pytest.mark.parametrize(
    ("issuer", "fault"),
    [
        (Made("x", ROOT, ca=False), True),
        (Made("x", ROOT, ca=None), True),
        (Made("x", ROOT, sign=False), True),
        (Made("x", ROOT, usage=False), False),
    ],
)
def test_only_an_authority_may_sign(issuer: Made, fault: bool) -> None:
    assert causes(leaf(issuer), issuer) == [Cause.CERT_PURPOSE] * fault


@pytest.mark.parametrize(
    ("key", "algorithm"),
    [
        (ec.generate_private_key(ec.SECP192R1()), None),
        (dsa.generate_private_key(2048), None),
        (rsa.generate_private_key(65537, 1024), None),
    ],
)
def test_weak_keys_are_told(key: object, algorithm: hashes.HashAlgorithm | None) -> None:
    assert causes(leaf(ROOT, key=key)) == [Cause.CERT_WEAK]
    weak = Made("Weak", ROOT, key=rsa.generate_private_key(65537, 1024))
    assert causes(leaf(weak), weak) == [Cause.CERT_WEAK]


@pytest.mark.parametrize(
    ("key", "words"),
    [
        (rsa.generate_private_key(65537, 2048), "RSA 2048"),
        (ec.generate_private_key(ec.SECP384R1()), "EC secp384r1"),
        (ed25519.Ed25519PrivateKey.generate(), "Ed25519"),
    ],
)
def test_key_dates_and_the_chain_as_sent_are_told(key: object, words: str) -> None:
    view = judge_chain([leaf(MIDDLE, key=key).der, MIDDLE.der], Wanted(None), TRUST, NOW)
    assert (view.key, view.not_before, view.chain) == (words, NOW - YEAR, ("CN=mail.test", "CN=Middle"))


def test_expiry_is_announced_thirty_days_before() -> None:
    assert causes(leaf(ROOT, until=NOW + timedelta(days=29))) == [Cause.EXPIRING_SOON]
    assert causes(leaf(ROOT, until=NOW + timedelta(days=31))) == []
    assert causes(leaf(ROOT, since=NOW + timedelta(days=1))) == [Cause.CERT_NOT_YET_VALID]


@pytest.mark.parametrize(
    ("presented", "wanted", "match"),
    [
        ("mail.test", "mail.test", True),
        ("MAIL.test.", "mail.TEST", True),
        ("*.contoso.test", "mail.contoso.test", True),
        ("*.contoso.test", "a.mail.contoso.test", False),
        ("*.contoso.test", "contoso.test", False),
        ("*.contoso.test", "*.contoso.test", True),
        ("mail.contoso.test", "*.contoso.test", True),
        ("a.b.contoso.test", "*.contoso.test", False),
        ("*.b.contoso.test", "*.contoso.test", False),
        (".contoso.test", "*.contoso.test", False),
        ("contoso.test", "*.contoso.test", False),
        ("evilcontoso.test", "*.contoso.test", False),
        ("*.test", "mail.test", False),
        ("*", "mail.test", False),
        ("m*.contoso.test", "mail.contoso.test", False),
        ("192.0.2.1", "192.0.2.1", True),
        ("2001:db8::1", "2001:DB8:0::1", True),
        ("*.0.2.1", "192.0.2.1", False),
        ("192.0.2.1", "192.0.2.2", False),
        ("", "mail.test", False),
        ("mail.test", "", False),
    ],
)
def test_names_match_as_the_standard_says(presented: str, wanted: str, match: bool) -> None:
    assert matches(presented, wanted) == match


def test_addresses_in_the_certificate_count() -> None:
    bearing = leaf(ROOT, san=[x509.IPAddress(ip_address("192.0.2.1"))])
    assert causes(bearing, wanted="192.0.2.1") == []
    assert causes(bearing, wanted="192.0.2.2") == [Cause.CERT_NAME]
    assert causes(bearing, wanted=None) == []


def test_a_name_only_in_the_common_name_is_a_warning() -> None:
    assert causes(leaf(ROOT, san=None)) == [Cause.CN_ONLY]
    assert causes(leaf(ROOT, san=None), wanted="other.test") == [Cause.CERT_NAME]


def test_texts_of_a_certificate_are_sanitised() -> None:
    nasty = leaf(ROOT, "<!channel>\n\u202e`x`", san=[x509.DNSName("a\x00b.test")])
    view = judge_chain([nasty.der], Wanted("mail.test"), TRUST, NOW)
    texts = [view.subject, view.issuer, *view.san, *(f.detail for f in view.faults)]
    assert all(t.isascii() and t.isprintable() for t in texts)
    assert len(view.sha256) == 64


@given(st.lists(st.binary(max_size=200), max_size=3))
def test_garbage_instead_of_certificates_is_untrusted(chain: list[bytes]) -> None:
    view = judge_chain(chain, Wanted("mail.test"), TRUST, NOW)
    assert [f.cause for f in view.faults] == [Cause.CERT_UNTRUSTED]


@given(st.integers(0, 600), st.integers(0, 255))
def test_a_damaged_certificate_never_raises(position: int, value: int) -> None:
    der = bytearray(leaf_der())
    der[position % len(der)] = value
    assert judge_chain([bytes(der)], Wanted("mail.test"), TRUST, NOW)


_LEAF: list[bytes] = []


def leaf_der() -> bytes:
    if not _LEAF:
        _LEAF.append(leaf(MIDDLE, fetch=True).der)
    return _LEAF[0]
