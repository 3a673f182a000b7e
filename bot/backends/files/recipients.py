"""The addresses that exist: one a line; `# complete: contoso.com` claims that they are a domain's whole directory.

The claim is what later lets mail to an unlisted address be rejected. So it is not believed where a line could not be
read, or where the domain has no address at all.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from bot.backends.files import cells
from bot.backends.files.lookalikes import plain
from bot.backends.files.parsed import BadRow, ParsedRecipients, Problem, Problems, UnreadableFile, listing
from bot.backends.files.server_exports import document_of, is_document
from bot.backends.files.table import MAX_ROWS, lines_of, opened, text_of

_COMPLETE = re.compile(r"#\s*complete\s*:(.*)", re.IGNORECASE)


def read_recipients(path: Path) -> ParsedRecipients:
    """The addresses, in lower case, and the domains whose list is whole. Raises UnreadableFile."""
    if document := _document(path):
        return document
    problems = Problems()
    addresses: dict[str, None] = {}
    claims: dict[str, int] = {}
    try:
        with text_of(path) as text:
            _read_lines(lines_of(text, path), path, addresses, claims, problems)
    except UnicodeError as error:
        raise UnreadableFile(f"{path} is neither UTF-8 nor UTF-16 text: save it as UTF-8") from error
    if not addresses:
        raise UnreadableFile(f"{path} lists no address: write one a line, like user@contoso.com")
    complete, refused = _believed(claims, addresses, problems.count)
    return ParsedRecipients(tuple(addresses), problems.all() + tuple(refused), complete)


def _document(path: Path) -> ParsedRecipients | None:
    """The directory in a document of mfi-exchange.ps1; None where the file is none."""
    with text_of(path) as text:
        try:
            if not text.read(100).lstrip("\ufeff \t\r\n").startswith("{"):
                return None
        except UnicodeError:
            return None
    with opened(path, Problems()) as table:
        first = next(iter(table.rows), None)
    if first is None or not is_document(first.cells):
        raise UnreadableFile(f"{path} is JSON, but no document of mfi-exchange.ps1: list one address a line")
    directory = document_of(first.cells, path).directory
    if directory is None:
        raise UnreadableFile(f"{path} holds no whole directory: let the script run with -DirectoryHours 6")
    return ParsedRecipients(tuple(sorted(directory.addresses)), (), tuple(sorted(directory.domains)))


def _read_lines(
    lines: Iterable[str], path: Path, addresses: dict[str, None], claims: dict[str, int], problems: Problems
) -> None:
    for number, raw in enumerate(lines, start=1):
        line = raw.strip("\ufeff \t\r\n\"'")
        if claim := _COMPLETE.fullmatch(plain(line) if line.startswith(("#", "\uff03")) else line):
            claims.update((domain.lower(), number) for domain in re.split(r"[,;\s]+", claim[1].strip()) if domain)
        elif line and not line.startswith(("#", "\uff03")):
            try:
                addresses[_address(line)] = None
            except BadRow as error:
                problems.add(number, str(error))
        if number > MAX_ROWS:
            raise UnreadableFile(f"{path} has more than {MAX_ROWS} lines: keep only the domains behind your connectors")


def _address(line: str) -> str:
    found = cells.address(line, "the line")
    if found is None:
        raise BadRow("the line holds no address")
    return found


def _believed(
    claims: dict[str, int], addresses: Iterable[str], bad_lines: int
) -> tuple[tuple[str, ...], list[Problem]]:
    if claims and bad_lines:
        why = f"not taken as complete, because {bad_lines} lines could not be read"
        return (), [Problem(0, f"{listing(list(claims))}: {why}", rows=0)]
    present = {address.rpartition("@")[2] for address in addresses}
    refused = [
        Problem(n, f"{d[:60]!r}: not taken as complete, because it has no address", rows=0)
        for d, n in claims.items()
        if d not in present
    ]
    return tuple(d for d in claims if d in present), refused
