"""What an authority may not do though it may sign: vouch for names outside its own, or for too long a chain.

Source of the rules: RFC 5280, 4.2.1.9 (path length) and 4.2.1.10 (name constraints; names and addresses only).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from ipaddress import ip_address

from cryptography import x509

from knowledge.classify import Cause


def overstepped(issuer: x509.Certificate, leaf: x509.Certificate, between: int) -> Iterator[tuple[Cause, str]]:
    """What this authority oversteps by standing above `between` others and this leaf: a cause, and the words for it."""
    try:
        length = issuer.extensions.get_extension_for_class(x509.BasicConstraints).value.path_length
        if length is not None and between > length:
            yield Cause.CERT_PURPOSE, "may not stand above so many other authorities"
    except x509.ExtensionNotFound:
        pass
    try:
        limits = issuer.extensions.get_extension_for_class(x509.NameConstraints).value
        san = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return
    for name in san:
        if _outside(name, limits):
            yield Cause.CERT_UNTRUSTED, f"may not vouch for {name.value}"
            return


def _outside(name: x509.GeneralName, limits: x509.NameConstraints) -> bool:
    """Is it excluded, or not among the permitted ones where some of its kind are named?"""
    permitted = _of_kind(limits.permitted_subtrees or (), name)
    excluded = _of_kind(limits.excluded_subtrees or (), name)
    return any(_below(name, e) for e in excluded) or bool(permitted and not any(_below(name, p) for p in permitted))


def _of_kind(trees: Iterable[x509.GeneralName], name: x509.GeneralName) -> list[x509.GeneralName]:
    """The limits that speak of names of this kind."""
    return [tree for tree in trees if type(tree) is type(name)]


def _below(name: x509.GeneralName, tree: x509.GeneralName) -> bool:
    """Is the name the top of the tree, or below it? A tree with a leading dot has no top of its own."""
    if isinstance(name, x509.IPAddress):
        network = tree.value
        address = ip_address(str(name.value))
        return address.version == network.version and address in network
    have, top = str(name.value).casefold(), str(tree.value).casefold()
    return have == top or have.endswith(top if top.startswith(".") or not top else f".{top}")
