"""What `mfi doctor` says of a drop folder, with the exact fix; and the settings."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path

import pytest

from bot.backends import registry
from bot.backends.exchange_server import ExchangeServerBackend, Options
from bot.backends.options import BadOptions
from bot.core.finding import Finding
from tests.backends.exchange_server.conftest import VALID, Site, a_site, now, write_ahead

TASK = "schtasks /Create /TN mfi-exchange /SC MINUTE /MO 1"


def said(findings: Sequence[Finding], level: str) -> list[tuple[str, str]]:
    return [(found.says, found.fix) for found in findings if found.level == level]


async def test_a_folder_in_order_has_no_fault(acting: Site) -> None:
    acting.waiting(VALID)
    acting.server.run_once()
    findings = await acting.backend(acts=True).check()
    assert [found.says for found in findings] == [
        "mfi-exchange.ps1 1.0.0 on EX01: 1 queues, 1 messages, 2 send connectors",
        "2 recipients of contoso.test, onprem.contoso.test",
        "it may act: orders are signed and can be delivered",
    ]
    assert {found.level for found in findings} == {"ok"}
    assert {found.what for found in findings} == {"hub"}


async def test_checking_changes_nothing(acting: Site) -> None:
    acting.server.run_once()
    before = sorted(path.name for path in acting.drop.rglob("*"))
    await acting.backend(acts=True).check()
    assert sorted(path.name for path in acting.drop.rglob("*")) == before


Breakage = Callable[[Site], object]


def no_folder(site: Site) -> None:
    site.drop.rename(site.drop.with_name("away"))


def other_version(site: Site) -> None:
    site.server.faults.version = 2
    site.server.run_once()


def no_json(site: Site) -> None:
    (site.drop / "mfi-snapshot-20261124T041500000Z.json").write_text("{")


def truncated(site: Site) -> None:
    site.waiting(VALID)
    site.server.faults.max_messages = 0
    site.server.run_once()


def no_rights(site: Site) -> None:
    site.server.faults.unreadable["connectors"] = "Access is denied"
    site.server.run_once()


def forged(site: Site) -> None:
    site.server.run_once()
    for path in site.drop.glob("*.sig"):
        path.unlink()


def no_key(site: Site) -> None:
    site.key_file.unlink()


def open_key(site: Site) -> None:
    site.key_file.chmod(0o640)


def short_key(site: Site) -> None:
    site.key_file.write_text("secret")


def no_orders(site: Site) -> None:
    site.server.run_once()
    (site.drop / "orders").rmdir()


@pytest.mark.parametrize(
    ("breakage", "says", "fix"),
    [
        (no_folder, "there is no folder", "or set MFI_HUB_DROP"),
        (lambda site: None, "holds no document yet", f"on the Exchange server: {TASK}"),
        (other_version, "has the format 2, and this mfi reads 1", "copy bot/backends/exchange_server/mfi-exchange.ps1"),
        (no_json, "it is no whole JSON", "run mfi-exchange.ps1 on the server by hand"),
        (truncated, "queue EX01\\15 was not listed whole", "-MaxMessages"),
        (no_rights, "could not read the connectors: Access is denied", "View-Only Organization Management"),
        (forged, "its signature is missing or wrong", "copy the server's key file to"),
        (no_key, "can't be read (FileNotFoundError)", "openssl rand -hex 32"),
        (open_key, "others than its owner may read the key file", "chmod 600"),
        (short_key, "doesn't hold 64 to 256 hexadecimal digits", "copy the key file of the Exchange server"),
        (no_orders, "no order can be put into", "let the user that runs mfi write into"),
    ],
)
async def test_what_is_wrong_is_told_with_its_fix(acting: Site, breakage: Breakage, says: str, fix: str) -> None:
    breakage(acting)
    (found,) = said(await acting.backend(acts=True).check(), "fault")
    assert says in found[0]
    assert fix in found[1]
    assert "secret" not in found[0] + found[1]


@pytest.mark.parametrize(
    ("ahead", "says"),
    [
        (timedelta(minutes=20), "its newest document is 20 min old: the scheduled task doesn't run"),
        (timedelta(minutes=-7), "its newest document is from the future by this machine's clock, which says 20"),
    ],
)
async def test_old_documents_and_wrong_clocks_are_faults(reading: Site, ahead: timedelta, says: str) -> None:
    reading.server.run_once()
    (found,) = said(await reading.backend(clock=lambda: now() + ahead).check(), "fault")
    assert found[0].startswith(says)
    assert found[1].startswith(("on the Exchange server: schtasks /Run", "set both machines' clocks by NTP"))


async def test_a_newer_document_from_the_future_is_a_fault_beside_the_one_that_is_used(reading: Site) -> None:
    write_ahead(reading, timedelta(hours=20))
    reading.server.run_once()
    (found,) = said(await reading.backend().check(), "fault")
    assert found[0].startswith("documents newer than the one that is used are from the future by this machine's clock")


async def test_a_key_on_one_side_only_is_told(reading: Site) -> None:
    reading.server.run_once()
    (found,) = said(await reading.backend(acts=True).check(), "fault")
    assert "the script runs without -KeyFile" in found[0]
    assert "-KeyFile C:\\mfi\\key.txt -StaySeconds 50" in found[1]


async def test_without_directory_and_key_there_are_notes(tmp_path: Path) -> None:
    site = a_site(tmp_path, key=None, directory=False)
    site.server.run_once()
    notes = said(await site.backend().check(), "note")
    assert [fix for _, fix in notes] == [
        "let the scheduled task run with -DirectoryHours 6",
        "to let it act, set MFI_HUB_KEY_FILE (README, Exchange Server)",
    ]


@pytest.mark.parametrize(
    ("settings", "option"),
    [
        ({}, "DROP"),
        ({"DROP": "/d", "MAX_AGE": "soon"}, "MAX_AGE"),
        ({"DROP": "/d", "MAX_AGE": "1"}, "MAX_AGE"),
        ({"DROP": "/d", "WAIT": "1e9"}, "WAIT"),
        ({"DROP": "/d", "WAIT": "nan"}, "WAIT"),
    ],
)
def test_a_senseless_setting_is_named(settings: dict[str, str], option: str) -> None:
    with pytest.raises(BadOptions) as bad:
        Options.parse(settings)
    assert [name for name, _ in bad.value.problems] == [option]
    with pytest.raises(BadOptions) as worse:
        registry.make("hub", "exchange_server", settings)
    assert worse.value.problems == bad.value.problems


def test_the_registry_makes_it(tmp_path: Path) -> None:
    settings = {"DROP": str(tmp_path), "ON_PREMISES": "To Hub, onprem.test", "MAX_AGE": "60"}
    assert isinstance(registry.make("hub", "exchange_server", settings), ExchangeServerBackend)
    assert Options.parse(settings).on_premises == {"to hub", "onprem.test"}
