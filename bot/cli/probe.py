"""`mfi probe`: a known connector by name, all of them, or any host that is named on the command line."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bot.cli.frame import EXIT_FAILING, print_json, read_settings, with_store
from bot.cli.known import Known, allow

if TYPE_CHECKING:
    from bot.core.probe_result import ProbeResult
    from bot.probes.runner import Prober
    from bot.settings import Settings
    from storage.connection import Store

TLS_WORDS = ("none", "opportunistic", "encryption", "certificate", "domain")


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """A probe result and the connector it belongs to (None: a host named on the command line)."""

    connector: str | None
    result: ProbeResult

    def document(self) -> dict[str, Any]:
        """The JSON of one probe; a known connector adds its name."""
        name = {} if self.connector is None else {"connector": self.connector}
        return {**name, **self.result.document()}


@click.command(
    epilog="Examples: mfi probe --host mail.contoso.com --tls domain · mfi probe 'To on-prem' · mfi probe all --json"
)
@click.argument("connector", required=False)
@click.option("--host", "hosts", multiple=True, help="Probe this host or address; may be repeated, in failover order.")
@click.option("--mx", "mx_domain", help="Probe the MX hosts of this domain.")
@click.option("--port", type=click.IntRange(1, 65535), help="Port to dial.  [default: MFI_SMTP_PORT, 25]")
@click.option("--tls", "tls", type=click.Choice(TLS_WORDS), default="opportunistic", show_default=True)
@click.option("--tls-domain", help="Name that the certificate must carry with --tls domain; *.contoso.com is fine.")
@click.option(
    "--ca-file",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="PEM file of authorities to trust as well.",
)
@click.option(
    "--crl-file",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="File of revocation lists: a certificate listed there counts as revoked.",
)
@click.option("--nameserver", "nameservers", multiple=True, metavar="IP[:PORT]", help="Ask this name server.")
@click.option(
    "--rcpt",
    metavar="ADDRESS",
    help="Also ask whether this recipient is accepted. No mail is sent; a host is asked 5 times a minute at most.",
)
@click.option(
    "--partner-ok",
    is_flag=True,
    help="Let --rcpt ask the server of a partner connector: you have the partner's consent.",
)
@click.option("--timeout", type=click.FloatRange(0.1, 600), help="Seconds for the whole probe.  [default: 30]")
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
def probe(connector: str | None, as_json: bool, **options: Any) -> int:
    """Probe a next hop as a mail system would.

    DNS, TCP, SMTP, STARTTLS, certificate, with --rcpt a recipient too; never sends mail. What is seen is seen from this
    machine.
    """
    on_the_spot = bool(options["hosts"] or options["mx_domain"])
    if bool(connector) == on_the_spot:
        raise click.UsageError("name one: a connector, all, --host HOST or --mx DOMAIN")
    for host in options["hosts"]:
        _check_host(host)
    settings = read_settings()
    if connector is None:
        probed = [Named(connector=None, result=asyncio.run(_probe_host(settings, quiet=as_json, **options)))]
    else:
        known = Known(
            word=connector,
            timeout=options["timeout"],
            rcpt=_recipient(options["rcpt"]),
            partner_ok=options["partner_ok"],
        )
        probed = asyncio.run(with_store(settings, lambda store: _probe_known(settings, store, known)))
    if as_json:
        many = connector is not None and connector.casefold() == "all"
        documents = [one.document() for one in probed]
        print_json({"connectors": documents} if many else documents[0])
    else:
        _show(probed)
    return 0 if all(one.result.ok and not one.result.nothing_probed for one in probed) else EXIT_FAILING


def _show(probed: list[Named]) -> None:
    from rich.console import Console

    from bot.terminal.probe import render_probe

    console = Console()
    for one in probed:
        console.print(render_probe(one.result, one.connector))


async def _probe_host(
    settings: Settings,
    *,
    quiet: bool,
    hosts: tuple[str, ...],
    mx_domain: str | None,
    port: int | None,
    tls: str,
    tls_domain: str | None,
    ca_file: Path | None,
    crl_file: Path | None,
    nameservers: tuple[str, ...],
    rcpt: str | None,
    partner_ok: bool,
    timeout: float | None,
) -> ProbeResult:
    """Probe what the command line names. It was typed on this machine, so it may dial any address."""
    from bot.probes.runner import Prober, ProbeRequest
    from bot.terminal.probe import progress_line
    from storage.records import TlsSetting

    asked = tuple(server for text in nameservers for server in parse_nameserver(text))
    prober = _usable(
        lambda: Prober(
            nameservers=asked or settings.nameservers or (),
            ca_file=ca_file or settings.ca_file,
            crl_file=crl_file or settings.crl_file,
            allow=None,
        )
    )
    request = ProbeRequest(
        hosts=hosts,
        mx_domain=mx_domain,
        port=port or settings.smtp_port,
        tls_setting=TlsSetting(tls),
        tls_domain=tls_domain,
        timeout=timeout or settings.probe_timeout.total_seconds(),
        rcpt=_recipient(rcpt),
        checks=True,
    )
    if request.rcpt and settings.database.exists():
        await with_store(settings, lambda store: allow(store, request, partner_ok=partner_ok))
    with progress_line(enabled=not quiet) as on_progress:
        return await prober.probe(request, on_progress)


def _check_host(text: str) -> None:
    """Refuse what can't be a smart host, such as a web address."""
    from bot.core.targets import BadHost, parse_host

    if isinstance(parse_host(text), BadHost):
        raise click.UsageError("--host wants a host name or an IP address, such as mail.contoso.com")


def _recipient(text: str | None) -> str | None:
    """The value of `--rcpt`, checked."""
    from bot.core.recipient import parse_recipient

    if text is None:
        return None
    if (address := parse_recipient(text)) is None:
        raise click.UsageError("--rcpt wants an address such as postmaster@contoso.com")
    return address


def _usable(make: Callable[[], Prober]) -> Prober:
    """The prober, or one line on why its file of authorities can't be used."""
    from bot.probes.truststore import NoTrustStore
    from bot.settings import SettingsError

    try:
        return make()
    except (NoTrustStore, SettingsError) as error:
        raise click.UsageError(str(error)) from None


def parse_nameserver(text: str) -> tuple[tuple[str, int], ...]:
    """One `--nameserver` value, in the same form as MFI_NAMESERVERS."""
    from bot.setting_values import read_addresses

    try:
        return read_addresses(text)
    except ValueError as problem:
        raise click.UsageError(f"--nameserver {problem}") from None


async def _probe_known(settings: Settings, store: Store, known: Known) -> list[Named]:
    """Probe known connectors, store what was seen and let triage act on it, just as the bot does.

    A recipient is asked for after that, where mail gets through; that is never stored.
    """
    from bot.core.probe_result import ProbeResult
    from bot.probes.runner import request_for
    from bot.wiring import make_prober, make_probing

    found = await store.read(known.connectors)
    prober = _usable(lambda: make_prober(settings))
    probing = make_probing(settings, store, prober, known.timeout)
    if known.rcpt is None:
        records = await asyncio.gather(*(probing.probe(connector.id) for connector in found))
        return [
            Named(connector=connector.name, result=ProbeResult.from_document(record.document))
            for connector, record in zip(found, records, strict=True)
        ]
    (connector,) = found
    timeout = known.timeout or settings.probe_timeout.total_seconds()
    request = replace(request_for(connector, settings.smtp_port, timeout), rcpt=known.rcpt)
    await allow(store, request, partner_ok=known.partner_ok, connector=connector)
    result = ProbeResult.from_document((await probing.probe(connector.id)).document)
    if result.ok and not result.nothing_probed:
        result = await prober.probe(request)
    return [Named(connector=connector.name, result=result)]
