"""Which kinds of mail systems there are: one line each. A kind says which settings (`MFI_<NAME>_…`) it wants."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from bot.backends import exchange_online, exchange_server, postfix
from bot.backends.lab import LabBackend
from bot.backends.ports import Backend


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


class BadSetting(ValueError):
    """An instance's setting is missing or senseless. The text names it (without its prefix), never its value."""

    def __init__(self, setting: str, problem: str) -> None:
        super().__init__(f"{setting} {problem}")
        self.setting = setting
        self.problem = problem


def _lab(name: str, settings: Mapping[str, str]) -> Backend:
    url = settings["URL"]
    if not url.startswith(("http://127.0.0.1:", "http://localhost:", "http://[::1]:")):
        raise BadSetting("URL", "has to be a loopback address such as http://127.0.0.1:8025")
    return LabBackend(name, url, timeout=_seconds(settings, "TIMEOUT", 10.0))


def _exchange_online(name: str, settings: Mapping[str, str]) -> Backend:
    try:
        return exchange_online.make(name, settings)
    except exchange_online.BadOption as bad:
        raise BadSetting(bad.option, bad.problem) from None


def _exchange_server(name: str, settings: Mapping[str, str]) -> Backend:
    try:
        return exchange_server.ExchangeServerBackend(name, exchange_server.Options.parse(settings))
    except exchange_server.BadOption as bad:
        raise BadSetting(bad.option, bad.problem) from None


def _postfix(name: str, settings: Mapping[str, str]) -> Backend:
    try:
        return postfix.PostfixBackend(name, postfix.Options.parse(settings))
    except postfix.BadOption as bad:
        raise BadSetting(bad.option, bad.problem) from None


KINDS: Mapping[str, BackendKind] = {
    "lab": BackendKind(
        make=_lab,
        required={"URL": "address of the sandbox mail system's control API"},
        optional={"TIMEOUT": "seconds that one request may take (10)"},
    ),
    "exchange_online": BackendKind(
        make=_exchange_online,
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
    """A backend, not yet connected. `settings` without their prefix. Raises BadSetting."""
    if kind not in KINDS:
        raise BadSetting("kind", f"{kind!r} is unknown; known kinds: {', '.join(sorted(KINDS))}")
    settings = _with_secrets(settings, KINDS[kind].secrets)
    missing = [one for one in KINDS[kind].required if not settings.get(one)]
    if missing:
        raise BadSetting(missing[0], f"is missing: {KINDS[kind].required[missing[0]]}")
    return KINDS[kind].make(name, settings)


def _with_secrets(settings: Mapping[str, str], secrets: frozenset[str]) -> Mapping[str, str]:
    """The settings with each secret that stands in a file; one that is given itself wins."""
    found = dict(settings)
    for name in secrets:
        file_name = found.pop(f"{name}_FILE", "").strip()
        if file_name and not found.get(name, "").strip():
            try:
                found[name] = Path(file_name).read_text(encoding="utf-8").strip()
            except (OSError, ValueError):
                raise BadSetting(f"{name}_FILE", "names a file that can't be read as text") from None
    return found


def _seconds(settings: Mapping[str, str], name: str, default: float) -> float:
    try:
        found = float(settings.get(name) or default)
    except ValueError:
        found = 0.0
    if not 0.1 <= found <= 300.0:
        raise BadSetting(name, "has to be a number of seconds from 0.1 to 300")
    return found
