"""What can be read of a handshake that came to nothing: up to TLS 1.2 the server's certificates travel in clear text.

TLS 1.3 encrypts them, so of a handshake that breaks off there they are known only if OpenSSL had come as far.

Promises: total over hostile bytes; what is cut short is left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

_HANDSHAKE, _HELLO, _CERTIFICATE = 22, 2, 11
_RANDOM = 34
"""Where the session id begins in a server's hello: behind version and random."""
_NEW = 0x13
"""What the numbers of TLS 1.3's ciphers begin with; its hello calls itself TLS 1.2 (RFC 8446, 4.1.3)."""
VERSIONS = {0x0300: "SSLv3", 0x0301: "TLSv1", 0x0302: "TLSv1.1", 0x0303: "TLSv1.2"}


@dataclass(frozen=True, slots=True)
class Flight:
    """A server's first words: the version and the cipher (its number) that it chose, its certificates (DER)."""

    version: str | None = None
    cipher: int | None = None
    chain: tuple[bytes, ...] = ()


def read(data: bytes) -> Flight:
    """The hello and the certificates in the records of a server, as far as they came in clear text."""
    version: str | None = None
    cipher: int | None = None
    chain: tuple[bytes, ...] = ()
    for kind, body in _messages(b"".join(_records(data))):
        if kind == _HELLO and len(body) > _RANDOM:
            behind = _RANDOM + 1 + body[_RANDOM]
            cipher = int.from_bytes(body[behind : behind + 2])
            version = "TLSv1.3" if cipher >> 8 == _NEW else VERSIONS.get(int.from_bytes(body[:2]))
        elif kind == _CERTIFICATE:
            chain = tuple(_prefixed(body[3:]))
    return Flight(version, cipher, chain)


def _records(data: bytes) -> Iterator[bytes]:
    """The payloads of the leading handshake records (RFC 5246, 6.2.1), the last one perhaps cut."""
    while len(data) > 5 and data[0] == _HANDSHAKE and data[1] == 3:
        end = 5 + int.from_bytes(data[3:5])
        yield data[5:end]
        data = data[end:]


def _messages(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Type and body of each whole handshake message (RFC 5246, 7.4)."""
    while len(data) >= 4 and len(data) >= (end := 4 + int.from_bytes(data[1:4])):
        yield data[0], data[4:end]
        data = data[end:]


def _prefixed(data: bytes) -> Iterator[bytes]:
    """Each whole item of a list with three bytes of length before each."""
    while len(data) > 3 and len(data) >= (end := 3 + int.from_bytes(data[:3])):
        yield data[3:end]
        data = data[end:]
