"""What is signed, and how: HMAC-SHA256 with a key that both sides hold, over the exact bytes.

A signed file is the line `hmac-sha256 <64 hex digits>`, a line feed, and the signed bytes. The key stands in a file as
64 to 256 hexadecimal digits; nobody but its owner may read it.
"""

from __future__ import annotations

import hmac
import os
import re
import stat
from pathlib import Path

_HEAD = re.compile(rb"hmac-sha256 ([0-9a-f]{64})\n")
_HEAD_LENGTH = 77
_KEY = re.compile(r"(?:[0-9A-Fa-f]{2}){32,128}")


class BadKey(ValueError):
    """The key can't be used. `problem` says why, `fix` what to do."""

    def __init__(self, problem: str, fix: str) -> None:
        super().__init__(f"{problem}: {fix}")
        self.problem = problem
        self.fix = fix


class BadSignature(ValueError):
    """Not signed, or with another key, or changed since."""


def read_key(path: Path) -> bytes:
    """The key in a file. Raises BadKey."""
    make = f"copy the key file of the Exchange server to {path}, chmod 600 (a new one: openssl rand -hex 32)"
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError) as error:
        raise BadKey(f"the key file {path} can't be read ({type(error).__name__})", make) from None
    with os.fdopen(descriptor, "rb") as file:
        found = os.fstat(file.fileno())
        if not stat.S_ISREG(found.st_mode):
            raise BadKey(f"{path} is no file", make)
        if found.st_mode & 0o077:
            raise BadKey(f"others than its owner may read the key file {path}", f"chmod 600 {path}")
        text = file.read(1024).decode("ascii", "replace").strip()
    if not _KEY.fullmatch(text):
        raise BadKey(f"{path} doesn't hold 64 to 256 hexadecimal digits and nothing else", make)
    return bytes.fromhex(text)


def signature(key: bytes, content: bytes) -> str:
    """The signature of these bytes, in lower-case hex."""
    return hmac.new(key, content, "sha256").hexdigest()


def is_signed(key: bytes, content: bytes, said: str) -> bool:
    """Is this the signature of these bytes?"""
    return hmac.compare_digest(signature(key, content).encode(), said.encode("utf-8", "replace"))


def sealed(key: bytes, body: bytes) -> bytes:
    """A signed file's content."""
    return f"hmac-sha256 {signature(key, body)}\n".encode() + body


def unsealed(key: bytes, content: bytes) -> bytes:
    """The signed bytes of such a content. Raises BadSignature."""
    head = _HEAD.match(content)
    if head is None or not is_signed(key, content[_HEAD_LENGTH:], head[1].decode()):
        raise BadSignature("its signature is missing or wrong")
    return content[_HEAD_LENGTH:]
