"""Our lookup of next hops against Postfix's own: where it really went is in the reason of each deferral."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bot.backends.ports import Snapshot
from tests.backends.postfix.real_postfix import SERVERS, RealPostfix, until

RECIPIENTS = (
    "alice@contoso.test",
    "BOSS@Contoso.TEST",
    "boss+tag@contoso.test",
    "boss+tag+more@contoso.test",
    "boss+own@contoso.test",
    "+boss@contoso.test",
    "alice@sub.contoso.test",
    "alice@very.deep.sub.contoso.test",
    "alice@notcontoso.test",
    "alice@hop.test",
    "alice@same.test",
    "alice@nowhere-else.test",
    "alice@refused.test",
    "alice@second.test",
)


async def where_it_went(postfix: RealPostfix, recipients: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Send to these; the servers of the connector that we say for each, which must hold the one that Postfix tried."""
    for recipient in recipients:
        await postfix.send("games@senders.test", [recipient])

    def told(snapshot: Snapshot) -> bool:
        waiting = snapshot.messages or ()
        return len(waiting) == len(recipients) and all(m.remote_ip for m in waiting)

    snapshot = await until(postfix.backend().snapshot, told)
    hosts = {c.key: c.smart_hosts for c in snapshot.connectors or ()}
    went = {m.recipient: m.remote_ip for m in snapshot.messages or ()}
    said = {m.recipient: hosts[m.connector_key or ""] for m in snapshot.messages or ()}
    assert {r: ip for r, ip in went.items() if ip not in said[r]} == {}
    return said


async def all_refuse(postfix: RealPostfix) -> dict[str, str]:
    """Where each of the servers is, none of which lets anybody in."""
    for name in SERVERS:
        if name != "refused":
            await postfix.servers.set_behaviour(name, "refused")
    return {name: f"[{postfix.servers.servers[name].ip}]:{postfix.servers.port}" for name in SERVERS}


async def test_every_recipient_goes_where_we_say(postfix: RealPostfix) -> None:
    at = await all_refuse(postfix)
    etc = Path(postfix.config_dir)
    first = f"""
        boss@contoso.test smtp:{at["refused"]}
        boss+own@contoso.test smtp:{at["good"]}
        contoso.test smtp:{at["busy"]}
        .contoso.test relay:{at["closes"]}
        hop.test :{at["partner"]}
        same.test :
    """
    second = f"""
        contoso.test smtp:{at["good"]}
        second.test smtp:{at["partner"]}, {at["busy"]}
    """
    for name, text in (("transport", first), ("second", second)):
        lines = (line.strip() for line in text.splitlines())
        postfix.write(f"{etc}/{name}", "".join(f"{line}\n" for line in lines if line))
        postfix.command("postmap", f"hash:{etc}/{name}")
    maps = f"transport_maps = hash:{etc}/mfi_overrides, hash:{etc}/transport, hash:{etc}/second"
    postfix.command("postconf", maps, f"relayhost = {at['good']}", "recipient_delimiter = +")
    postfix.command("postfix", "reload")
    said = await where_it_went(postfix, RECIPIENTS)
    assert {len(ips) for r, ips in said.items() if r != "alice@second.test"} == {1}
    assert len(set(said.values())) == 6


async def test_a_transports_own_next_hop_comes_before_relayhost(postfix: RealPostfix) -> None:
    at = await all_refuse(postfix)
    postfix.command(
        "postconf",
        f"transport_maps = hash:{postfix.config_dir}/mfi_overrides",
        f"relayhost = {at['good']}",
        f"relay_transport = relay:{at['closes']}",
        f"default_transport = smtp:{at['busy']}",
    )
    postfix.command("postfix", "reload")
    said = await where_it_went(postfix, ["alice@refused.test", "alice@elsewhere.test"])
    assert said == {
        "alice@refused.test": (postfix.servers.servers["closes"].ip,),
        "alice@elsewhere.test": (postfix.servers.servers["busy"].ip,),
    }
