"""What to do about the codes of an outage on a Postfix relay and on an Exchange Server, in their own words. Pure data.

Causes name the details (bot's causes, knowledge/causes.py) that make them likely. Commands are those of the manual
pages postqueue(1), postconf(1), postmap(1), posttls-finger(1), of the Exchange Management Shell and of Windows. Port 25
stands for the next hop's port, mail.contoso.com for the server, contoso.com for the recipient domain.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from bot.core.capabilities import Family

Causes = tuple[tuple[tuple[str, ...], str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Advice:
    """Causes, likeliest first, each after the details that point to it; and the steps in order."""

    causes: Causes
    steps: tuple[str, ...]


_TRUST = "-F /etc/ssl/certs/ca-certificates.crt"
"""posttls-finger trusts nobody by itself, whatever main.cf says."""

_POSTFIX = {
    "4.4.312": Advice(
        causes=(
            (
                ("servfail", "dns_timeout", "dns_error", "dns_refused", "lame"),
                "The resolver that Postfix asks, or the zone's own name servers, give no usable answer.",
            ),
            (("nxdomain",), "The next hop in the transport table or in `relayhost` is misspelt or left DNS."),
            (("nodata", "null_mx"), "The name has no record to deliver to; without [brackets] it needs an MX."),
            (("bogus",), "The zone's DNSSEC signatures are broken, so a validating resolver refuses its answer."),
        ),
        steps=(
            "On the Postfix machine: `dig mail.contoso.com` and `dig MX contoso.com`. No answer: look at its resolver "
            "(`/etc/resolv.conf`, and its copy in `etc` below what `postconf -h queue_directory` names).",
            "Is the next hop right? `postmap -q contoso.com hash:/etc/postfix/transport` (`postconf transport_maps` "
            "names your tables), else `postconf relayhost`.",
            "It is a host, not a domain with an MX: write it in brackets, `[mail.contoso.com]:25`; then `postmap` the "
            "table and `postfix reload`.",
            "DNS answers rightly again: `postqueue -f` tries what waits at once.",
        ),
    ),
    "4.4.315": Advice(
        causes=(
            (("connect_timeout",), "The destination server, or the line in front of it, is down."),
            (("connect_timeout",), "A firewall drops what comes from this relay's own address without a word."),
            (
                ("connect_timeout", "unreachable"),
                "DNS or the transport table leads to an old address.",
            ),
            (("unreachable",), "There is no route from the relay to that network, or only IPv6 has none."),
        ),
        steps=(
            "On the Postfix machine: `nc -vz mail.contoso.com 25`; `postqueue -p` shows which address was tried.",
            "Look at the server: is it up, and does `ss -ltn` there show port 25?",
            "The firewall must let TCP 25 in from this relay's own address (`postconf smtp_bind_address`, else the "
            "machine's); `tcpdump -n port 25` on both sides shows where packets end.",
            "The address is an old one: correct DNS or the transport table, `postmap` it, `postfix reload`.",
            "Only IPv6 addresses fail: `postconf inet_protocols smtp_address_preference`.",
        ),
    ),
    "4.4.316": Advice(
        causes=(
            ((), "The mail service on that server is stopped, or listens elsewhere, not on port 25."),
            ((), "A firewall, or the server itself, rejects this relay's own address."),
            ((), "The next hop in the transport table or in `relayhost` names a wrong port, or a server that is gone."),
        ),
        steps=(
            "Decide first: is there still a server that should receive this mail? `postqueue -p` shows what waits for "
            "it, `nc -vz mail.contoso.com 25` on the Postfix machine whether it answers.",
            "There is: on it, `ss -ltn` must show port 25; if it doesn't, start the mail service.",
            "It listens: its firewall must let TCP 25 in from this relay's own address (`postconf smtp_bind_address`, "
            "else the machine's).",
            "It moved: `postmap -q contoso.com hash:/etc/postfix/transport` (your tables: `postconf transport_maps`; "
            "else `postconf relayhost`) shows the next hop; correct it, `postmap` the table, `postfix reload`, "
            "`postqueue -f`.",
            "There is none any more: use Fix now where it is offered, or refuse unknown recipients by hand with "
            "`relay_recipient_maps` and take the domain out of `relay_domains` and the transport table.",
        ),
    ),
    "4.4.317": Advice(
        causes=(
            (
                ("no_starttls", "starttls_rejected"),
                "`smtp_tls_policy_maps` or `smtp_tls_security_level` demands TLS, but the server offers no STARTTLS "
                "or declines to begin it.",
            ),
            (
                ("tls_failed", "tls_version", "tls_alert", "client_certificate_wanted"),
                "The TLS handshake fails: no protocol version or cipher in common, or a fault in the server's TLS.",
            ),
            (
                ("cert_expired", "cert_name", "cert_untrusted", "cert_self_signed", "cert_revoked"),
                "The server's certificate is not what the TLS policy of this next hop accepts.",
            ),
            (
                ("smtp_error", "rate_limited", "busy", "reputation"),
                "The server greets with an error: overloaded, in maintenance, or it blocks this relay's address.",
            ),
            (("not_smtp",), "Something other than a mail server answers at that address and port."),
        ),
        steps=(
            f'See it as Postfix does: `posttls-finger {_TRUST} "[mail.contoso.com]:25"` shows greeting, STARTTLS, '
            "certificate (without `-F` each one looks untrusted).",
            "What is demanded of it? `postconf smtp_tls_security_level smtp_tls_policy_maps`, and "
            '`postmap -q "[mail.contoso.com]:25" hash:/etc/postfix/tls_policy` (next hop as in the transport table).',
            "No STARTTLS: give the server a certificate and switch TLS on, or find the firewall that strips STARTTLS.",
            "An error greeting: read the server's log of that time; end the overload, or take this relay's address off "
            "its block list.",
            "It cannot do TLS, need not, and your policy permits: level `may` for this next hop in "
            "`smtp_tls_policy_maps`, `postmap` it, `postfix reload`.",
        ),
    ),
    "4.4.318": Advice(
        causes=(
            (("closed", "reset"), "A firewall inspects SMTP and breaks sessions that it does not understand."),
            (("stalled",), "The server hangs, or lacks memory, disk or processes, and runs into time-outs."),
            (("closed",), "The server limits connections, or drops this relay's address without an answer."),
            ((), "The line between the two loses packets, or drops large ones (VPN)."),
        ),
        steps=(
            'Where does it break? The relay\'s log says it: `grep "lost connection" /var/log/mail.log` ("while '
            'receiving the initial server greeting", "while sending message body" …).',
            "Compare with the server's own log: if it never saw the session, something in front of it hangs up. Turn "
            "off SMTP inspection for TCP 25 on that firewall.",
            "Look at the server's health: free disk and memory, restarts, limits on connections from one address "
            "(here `postconf smtp_destination_concurrency_limit`).",
            "Large messages only: packet size on the path, `ping -M do -s 1472 mail.contoso.com`.",
        ),
    ),
    "4.7.320": Advice(
        causes=(
            (("cert_expired", "cert_not_yet_valid"), "The certificate has expired, or its time has not begun yet."),
            (("cert_name",), "Its names do not match what the TLS policy of this next hop expects."),
            (
                ("cert_untrusted", "cert_self_signed", "cert_missing_intermediate"),
                "Its chain does not lead to a root in `smtp_tls_CAfile` or `smtp_tls_CApath`: self-signed, a private "
                "CA, or the server does not send the intermediate.",
            ),
            (("cert_revoked",), "It was revoked by its issuer."),
            ((), "A new certificate was installed, but not on every server behind the name."),
        ),
        steps=(
            f'Look at what Postfix meets: `posttls-finger -c -l verify {_TRUST} "[mail.contoso.com]:25"`. Dates, '
            "names, and does the chain lead to a root of that file? (Take Postfix's own, if `postconf smtp_tls_CAfile` "
            "names one.)",
            "Expired or revoked: renew it on the server, install it with the full chain (a Postfix there: "
            "`smtpd_tls_chain_files`), and reload its mail service.",
            "Wrong name: install the right certificate; if the new name is meant, name it with `match=` in this next "
            "hop's entry of `smtp_tls_policy_maps`.",
            "Untrusted: the server has to send the intermediate, too; a private CA belongs in `smtp_tls_CAfile`.",
            "Renewal takes long and your policy permits: level `encrypt` for this next hop in `smtp_tls_policy_maps` "
            "takes any certificate; `postmap` it, `postfix reload`, and put it back afterwards.",
        ),
    ),
}

_SESSION_LOG = (
    "`Set-SendConnector -Identity <connector> -ProtocolLoggingLevel Verbose`; after the next try, read the newest log "
    "in `SendProtocolLogPath` (`Get-TransportService`; with `FrontendProxyEnabled`, `Get-FrontendTransportService`)."
)
"""An Exchange server has no posttls-finger: what it says and hears stands in its protocol log, once that is on."""
_RETRY = "Retry-Queue -Filter \"Status -eq 'Retry'\""
"""For the queues of the server that it is typed on. -Resubmit also routes anew what waits, for a changed connector."""

_EXCHANGE_SERVER = {
    "4.4.312": Advice(
        causes=(
            (
                ("servfail", "dns_timeout", "dns_error", "dns_refused", "lame"),
                "The DNS servers that your Exchange servers ask, or the zone's own name servers, give no usable "
                "answer.",
            ),
            (
                ("nxdomain",),
                "The send connector's smart host is misspelt or left DNS, or the domain's registration ran out.",
            ),
            (
                ("nxdomain",),
                "A network adapter lists public DNS servers beside your own; they do not know internal names.",
            ),
            (
                ("nodata", "null_mx"),
                "The name has no record to deliver to (neither MX nor address), or says that it takes no mail.",
            ),
            (("bogus",), "The zone's DNSSEC signatures are broken, so a validating resolver refuses its answer."),
        ),
        steps=(
            "On the Exchange server: `Get-Queue | Format-List Identity,NextHopDomain,LastError` shows which name "
            "fails; `Resolve-DnsName mail.contoso.com` and `Resolve-DnsName contoso.com -Type MX`, what DNS answers.",
            "Which DNS servers are asked? `Get-TransportService | Format-List Name,*DNSAdapter*,*DNSServers`: the "
            "external ones if the connector has `UseExternalDNSServersEnabled`. Try each: `Resolve-DnsName "
            "mail.contoso.com -Server <DNS server>`.",
            "Is the next hop right? `Get-SendConnector | Format-List Name,AddressSpaces,SmartHosts`. A smart host is "
            "misspelt or gone: `Set-SendConnector -Identity <connector> -SmartHosts <new server>`.",
            "The zone is at fault: put its record back, or call its DNS hosting service. In a hurry, if the connector "
            "has a smart host: that one's IP address in `-SmartHosts` for the time being.",
            f"DNS answers rightly again: `{_RETRY}` on each Exchange server tries what waits at once; after a change "
            "of the connector, with `-Resubmit $true`.",
        ),
    ),
    "4.4.315": Advice(
        causes=(
            (("connect_timeout",), "The destination server, or the line in front of it, is down."),
            (("connect_timeout",), "A firewall drops what comes from your Exchange servers' own addresses."),
            (("connect_timeout", "unreachable"), "DNS or the send connector's smart host leads to an old address."),
            (("unreachable",), "There is no route from your Exchange servers to that network."),
        ),
        steps=(
            "On the Exchange server: `Test-NetConnection mail.contoso.com -Port 25`; `Get-Queue | Format-List "
            "Identity,LastError` shows which address was tried.",
            "Look at the destination: is it up, and does its mail service listen on port 25 (`netstat -an`)?",
            "The firewall must let TCP 25 in from your Exchange servers' own addresses.",
            "The address is an old one: correct DNS, or `Set-SendConnector -Identity <connector> -SmartHosts "
            "<new server>`.",
        ),
    ),
    "4.4.316": Advice(
        causes=(
            ((), "The mail service on that server is stopped, or listens elsewhere, not on port 25."),
            ((), "A firewall, load balancer or the server itself rejects your Exchange servers' addresses."),
            ((), "The send connector's smart host names a wrong port, or a server that is gone."),
        ),
        steps=(
            "Decide first: is there still a server that should receive this mail? `Test-NetConnection mail.contoso.com "
            "-Port 25` on the Exchange server shows whether it answers.",
            "There is: on it, the mail service has to listen on port 25 (`netstat -an`; if it runs Exchange Server: "
            "`Get-Service MSExchangeTransport, MSExchangeFrontEndTransport`).",
            "It listens: its firewall must let TCP 25 in from your Exchange servers' own addresses.",
            f"It moved: `Set-SendConnector -Identity <connector> -SmartHosts <new server>`, then `{_RETRY} -Resubmit "
            "$true` on each Exchange server.",
            "There is none any more: use Fix now where it is offered, or by hand: the accepted domain to Authoritative "
            "once all valid recipients exist here, then `Set-SendConnector -Identity <connector> -Enabled $false`.",
        ),
    ),
    "4.4.317": Advice(
        causes=(
            (
                ("no_starttls", "starttls_rejected"),
                "The send connector demands TLS (`RequireTLS`), but the server offers no STARTTLS or declines to "
                "begin it.",
            ),
            (
                ("tls_failed", "tls_version", "tls_alert", "client_certificate_wanted"),
                "The TLS handshake fails: no protocol version or cipher in common, or a fault in the server's TLS.",
            ),
            (
                ("tls_failed", "client_certificate_wanted"),
                "Your Exchange server's own certificate is missing, unusable or not bound to SMTP (NoCredentials, "
                "UnknownCredentials).",
            ),
            (
                ("cert_expired", "cert_name", "cert_untrusted", "cert_self_signed", "cert_revoked"),
                "The server's certificate is not what the send connector's `TlsAuthLevel` and `TlsDomain` accept.",
            ),
            (
                ("smtp_error", "rate_limited", "busy", "reputation"),
                "The server answers the greeting or EHLO with an error: overloaded, in maintenance, or it blocks your "
                "Exchange servers' addresses.",
            ),
            (("not_smtp",), "Something other than a mail server answers at that address and port."),
        ),
        steps=(
            f"See it as Exchange does: {_SESSION_LOG}",
            "What is demanded of it? `Get-SendConnector -Identity <connector> | Format-List RequireTLS,TlsAuthLevel,"
            "TlsDomain,SmartHostAuthMechanism` (BasicAuthRequireTLS demands TLS, too).",
            "No STARTTLS: give the server a certificate and switch TLS on (Exchange Server there: "
            "`Enable-ExchangeCertificate -Thumbprint <thumbprint> -Services SMTP`), or find the firewall that strips "
            "STARTTLS.",
            "The handshake fails: TLS 1.2 has to be on at both ends. The log says NoCredentials or "
            "UnknownCredentials: bind a valid certificate to SMTP here, with `Enable-ExchangeCertificate`, too.",
            "An error greeting: read the server's log of that time; end the overload, or take your Exchange servers' "
            "addresses off its block list.",
            "It cannot do TLS, need not, and your policy permits: `Set-SendConnector -Identity <connector> -RequireTLS "
            "$false -TlsAuthLevel $null -TlsDomain $null`. Note the old values and put them back afterwards.",
        ),
    ),
    "4.4.318": Advice(
        causes=(
            (("closed", "reset"), "A firewall inspects SMTP and breaks sessions that it does not understand."),
            (("stalled",), "The server hangs, or lacks memory, disk or threads, and runs into time-outs."),
            (
                ("closed",),
                "The server limits connections, or drops your Exchange servers' addresses without an answer.",
            ),
            ((), "The line between the two loses packets, or drops large ones (VPN)."),
        ),
        steps=(
            f"Where does it break? {_SESSION_LOG}",
            "Compare with the server's own log: if it never saw the session, something in front of it hangs up. Turn "
            "off SMTP inspection for TCP 25 on that firewall.",
            "Look at the server's health: free disk and memory, restarts of its mail service (if it runs Exchange "
            "Server, the events 15004 to 15007 tell of back pressure).",
            "Does it limit connections from one address? If it runs Exchange Server: `Get-ReceiveConnector | "
            "Format-List Name,MaxInboundConnection*`; here `Get-TransportService | Format-List "
            "Name,MaxPerDomainOutboundConnections`.",
            "Large messages only: packet size on the path, `ping -4 -f -l 1472 mail.contoso.com` on your server.",
        ),
    ),
    "4.7.320": Advice(
        causes=(
            (("cert_expired", "cert_not_yet_valid"), "The certificate has expired, or its time has not begun yet."),
            (
                ("cert_name",),
                "Its names do not match the send connector's `TlsDomain` (if that is empty: the recipient's domain).",
            ),
            (
                ("cert_untrusted", "cert_self_signed", "cert_missing_intermediate"),
                "Its chain does not lead to a root that Windows on your Exchange servers trusts: self-signed, a "
                "private CA, or the server does not send the intermediate.",
            ),
            (("cert_revoked",), "It was revoked by its issuer."),
            ((), "A new certificate was installed, but not on every server behind the name."),
        ),
        steps=(
            f"See what Exchange meets: {_SESSION_LOG}",
            "What is demanded of it? `Get-SendConnector -Identity <connector> | Format-List RequireTLS,TlsAuthLevel,"
            "TlsDomain`. Compare with the certificate in the log: names, issuer, thumbprint.",
            "Expired or revoked: renew it and install it with the full chain, on every server behind the name "
            "(Exchange Server there: `Enable-ExchangeCertificate -Thumbprint <thumbprint> -Services SMTP`).",
            "Wrong name: install the right certificate; if the new name is meant, `Set-SendConnector -Identity "
            "<connector> -TlsDomain <new name>`.",
            "Untrusted: the server has to send the intermediate, too; a private CA's root belongs on every Exchange "
            "server of yours: `Import-Certificate -FilePath <file> -CertStoreLocation Cert:\\LocalMachine\\Root`.",
            "Renewal takes long and your policy permits: `Set-SendConnector -Identity <connector> -TlsAuthLevel "
            "EncryptionOnly -TlsDomain $null` takes any certificate. Note the old values and put them back afterwards.",
        ),
    ),
}

OWN: Mapping[Family, Mapping[str, Advice]] = {
    Family.POSTFIX: _POSTFIX,
    Family.EXCHANGE_SERVER: _EXCHANGE_SERVER,
}
"""Mail system → code → advice. Exchange Online has the articles themselves."""

_OUR_CERTIFICATE = (
    "Which certificate does this relay show? `postconf smtp_tls_chain_files smtp_tls_cert_file`, and `openssl x509 -in "
    "<file> -noout -subject -enddate`. Renew what has expired, with its intermediate, then `postfix reload`."
)
MORE: Mapping[Family, Mapping[str, tuple[str, ...]]] = {
    Family.EXCHANGE_SERVER: {},
    Family.POSTFIX: {
        "4.7.0-attr41": (_OUR_CERTIFICATE,),
        "4.7.5": (
            _OUR_CERTIFICATE,
            "The other server's certificate: see what Postfix meets with `posttls-finger -c -l verify "
            f'{_TRUST} "[mail.contoso.com]:25"`.',
        ),
        "5.7.57": (
            "Does this relay have to sign in there? `postconf smtp_sasl_auth_enable smtp_sasl_password_maps`: is there "
            "an entry for this next hop in that table, and is its password still right?",
        ),
        "5.7.64": (
            "The receiver knows this relay by its address or certificate; has either changed? `postconf "
            "smtp_bind_address smtp_tls_chain_files smtp_tls_cert_file`. Have its administrator enter the present one.",
        ),
    },
}
"""Mail system → code → steps that stand before those of the article that fit, because hardly any does."""
