"""Which kinds of mail systems there are: one line each. A kind says which settings (`MFI_<NAME>_…`) it wants."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from bot.backends import exchange_online, exchange_server, postfix
from bot.backends.lab import LabBackend
from bot.backends.options import BadOptions, Problems, number
from bot.backends.ports import Backend

KIND = "kind"
"""Names the kind itself in a BadOptions, which is no setting of the instance."""
UNREAD = "unread"


@dataclass(frozen=True, slots=True, kw_only=True)
class BackendKind:
    """How to make a backend of this kind from an instance's name and its settings.

    `required` and `optional` name the settings without their prefix and say what each is for. `secrets`: those of them
    that may also be given as `<SETTING>_FILE`, a file that holds the value; `make` finds the value itself.
    """

    make: Callable[[str, Mapping[str, str]], Backend]
    required: Mapping[str, str]
    optional: Mapping[str, str]
    secrets: frozenset[str] = frozenset()


def _lab(name: str, settings: Mapping[str, str]) -> Backend:
    problems = Problems()
    url = settings.get("URL", "")
    if not url.startswith(("http://127.0.0.1:", "http://localhost:", "http://[::1]:")):
        problems.add("URL", "has to be a loopback address such as http://127.0.0.1:8025")
    timeout = problems.caught(lambda: number(settings, "TIMEOUT", 10, (0.1, 300), " of seconds"), 10.0)
    problems.told()
    return LabBackend(name, url, timeout=timeout)


def _exchange_server(name: str, settings: Mapping[str, str]) -> Backend:
    return exchange_server.ExchangeServerBackend(name, exchange_server.Options.parse(settings))


def _postfix(name: str, settings: Mapping[str, str]) -> Backend:
    return postfix.PostfixBackend(name, postfix.Options.parse(settings))


KINDS: Mapping[str, BackendKind] = {
    "lab": BackendKind(
        make=_lab,
        required={"URL": "address of the sandbox mail system's control API"},
        optional={"TIMEOUT": "seconds that one request may take (10)"},
    ),
    "exchange_online": BackendKind(
        make=exchange_online.make,
        required=exchange_online.REQUIRED,
        optional=exchange_online.OPTIONAL,
        secrets=exchange_online.SECRETS,
    ),
    "exchange_server": BackendKind(
        make=_exchange_server, required=exchange_server.REQUIRED, optional=exchange_server.OPTIONAL
    ),
    "postfix": BackendKind(make=_postfix, required={}, optional=postfix.OPTIONAL),
}


def make(name: str, kind: str, settings: Mapping[str, str]) -> Backend:
    """A backend, not yet connected. `settings` without their prefix. Raises BadOptions with everything wrong."""
    if kind not in KINDS:
        raise BadOptions((KIND, f"{kind!r} is unknown; known kinds: {', '.join(sorted(KINDS))}"))
    problems = Problems()
    settings = _with_secrets(settings, KINDS[kind].secrets, problems)
    for one, what in KINDS[kind].required.items():
        if not settings.get(one, "").strip():
            problems.add(one, f"is missing: {what}")
    made = problems.caught(lambda: KINDS[kind].make(name, settings), None)
    problems.told()
    assert made is not None
    return made


def names_of(kind: str) -> frozenset[str]:
    """What settings of this kind may be called, without their prefix; none where the kind is unknown."""
    if kind not in KINDS:
        return frozenset()
    known = KINDS[kind]
    return frozenset((*known.required, *known.optional, *(f"{name}_FILE" for name in known.secrets)))


def _with_secrets(settings: Mapping[str, str], secrets: frozenset[str], problems: Problems) -> Mapping[str, str]:
    """The settings with each secret that stands in a file; one that is given itself wins."""
    found = dict(settings)
    for name in sorted(secrets):
        file_name = found.pop(f"{name}_FILE", "").strip()
        if file_name and not found.get(name, "").strip():
            try:
                found[name] = Path(file_name).read_text(encoding="utf-8").strip()
            except (OSError, ValueError):
                problems.add(f"{name}_FILE", "names a file that can't be read as text")
                found[name] = UNREAD  # so that it doesn't count as missing, too
    return found
