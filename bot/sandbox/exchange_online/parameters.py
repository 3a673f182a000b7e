"""What a cmdlet's parameters may be, and the errors of PowerShell when they are something else. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

Json = dict[str, Any]
_TASKS = "Microsoft.Exchange.Configuration.Tasks"
_CLAUSE = re.compile(
    r"\s*\(?\s*(EmailAddresses|PrimarySmtpAddress|ExternalEmailAddress)\s+-eq\s+'((?:[^']|'')*)'\s*\)?\s*",
    re.IGNORECASE,
)
_OR = re.compile(r"-or\b", re.IGNORECASE)


class CmdletError(Exception):
    """The cmdlet failed: 400. `type` is the .NET type, the text is the real one."""

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(text)
        self.type = kind


def not_found(identity: str) -> CmdletError:
    """No object of that identity."""
    text = f"The operation couldn't be performed because object '{identity}' couldn't be found on 'sandbox'."
    return CmdletError(f"{_TASKS}.ManagementObjectNotFoundException", text)


def wrong(text: str) -> CmdletError:
    """A parameter that can't be read."""
    return CmdletError("System.Management.Automation.ParameterBindingException", text)


def not_allowed(text: str) -> CmdletError:
    """A change that the settings don't allow."""
    return CmdletError(f"{_TASKS}.ValidationException", text)


def check_names(given: Iterable[str], known: Sequence[str]) -> None:
    """Refuse parameters that the cmdlet doesn't have."""
    names = {name.lower() for name in known}
    for name in given:
        if name.lower() not in names:
            text = f"A parameter cannot be found that matches parameter name '{name}'."
            raise CmdletError("System.Management.Automation.AmbiguousParameterSetException", text)


def boolean(parameters: Mapping[str, Any], name: str) -> bool | None:
    """A JSON boolean, or None when it isn't given."""
    found = parameters.get(name)
    if found is not None and not isinstance(found, bool):
        raise wrong(f"Cannot bind parameter '{name}': send true or false.")
    return found


def text(parameters: Mapping[str, Any], name: str) -> str | None:
    """A string, or None when it isn't given (or null)."""
    found = parameters.get(name)
    if found is not None and not isinstance(found, str):
        raise wrong(f"Cannot bind parameter '{name}': send a string.")
    return found


def required(parameters: Mapping[str, Any], name: str) -> str:
    """A string that has to be there."""
    found = text(parameters, name)
    if not found:
        raise wrong(f"Cannot bind argument to parameter '{name}' because it is null or missing.")
    return found


def strings(parameters: Mapping[str, Any], name: str) -> list[str] | None:
    """One string or a list of them."""
    found = parameters.get(name)
    if found is None:
        return None
    found = [found] if isinstance(found, str) else found
    if not isinstance(found, list) or not all(isinstance(one, str) for one in found):
        raise wrong(f"Cannot bind parameter '{name}': send strings.")
    return found


def member(given: str, legal: Sequence[str], name: str) -> str:
    """An enum's member; PowerShell takes any beginning that only one member has."""
    exact = [one for one in legal if one.lower() == given.lower()]
    found = exact or [one for one in legal if one.lower().startswith(given.lower())]
    if len(found) != 1 or not given:
        text = (
            f"Cannot process argument transformation on parameter '{name}'. Cannot convert value \"{given[:40]}\". "
            f"Specify one of the following enumerator names and try again: {', '.join(legal)}"
        )
        raise CmdletError("System.Management.Automation.ParameterTransformationException", text)
    return found[0]


def result_size(parameters: Mapping[str, Any], usual: int = 1000, most: int | None = None) -> int | None:
    """How many rows at most; None: unlimited. `most`: the highest allowed number (then "Unlimited" isn't)."""
    found = parameters.get("ResultSize", usual)
    if found == "Unlimited" and most is None:
        return None
    try:
        size = int(found)
    except (TypeError, ValueError):
        size = 0
    if isinstance(found, bool) or size < 1 or (most is not None and size > most):
        raise wrong(f"Cannot bind parameter 'ResultSize': {found!r:.40} is not possible.")
    return size


def moment(parameters: Mapping[str, Any], name: str) -> datetime | None:
    """A moment; without a zone it is UTC."""
    found = text(parameters, name)
    if found is None:
        return None
    try:
        at = datetime.fromisoformat(found)
    except ValueError:
        raise wrong(f"Cannot bind parameter '{name}': not a date.") from None
    return at.astimezone(UTC) if at.tzinfo else at.replace(tzinfo=UTC)


def filtered_addresses(query: str) -> list[tuple[str, bool]]:
    """The addresses that a recipient filter names, lower case: `EmailAddresses -eq 'smtp:…' -or …`.

    Each with whether it is asked for as an external address.
    """
    found: list[tuple[str, bool]] = []
    position = 0
    while True:
        clause = _CLAUSE.match(query, position)
        if clause is None:
            raise wrong(f"Invalid filter syntax at position {position}: {query[position : position + 40]!r}")
        value = clause[2].replace("''", "'").lower()
        found.append((value.removeprefix("smtp:"), clause[1].lower() == "externalemailaddress"))
        if clause.end() == len(query):
            return found
        joint = _OR.match(query, clause.end())
        if joint is None:
            raise wrong(f"Invalid filter syntax at position {clause.end()}: only -or joins clauses here")
        position = joint.end()
