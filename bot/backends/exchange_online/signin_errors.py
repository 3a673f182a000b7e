"""Microsoft's sign-in errors (AADSTS numbers) that an administrator can mend: what each means, and its fix. Pure.

In a fix, {id} is the application id; {tenant}, {client}, {secret} and {file} are names of settings; {clock} says how
far our clock is off.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

EXPIRED_CREDENTIAL = "7000222"
NEW_CERTIFICATE = "700027"
"""Also said for about half a minute after a certificate was uploaded."""
CLOCK_SKEW = "700024"

_UNKNOWN = ("Microsoft refuses it", "look up the number at https://login.microsoftonline.com/error")
_SILENT = ("the sign-in service gave no reason", "check {tenant}, and what stands between it and this machine")
_KNOWN = {
    EXPIRED_CREDENTIAL: (
        "its client secret has expired",
        "Entra admin center → App registrations → {id} → Certificates & secrets: "
        "make a new one, put its value into {secret}",
    ),
    "7000215": (
        "its client secret is wrong",
        "put the secret's value, not its id, into {secret} (Entra admin center → App registrations → {id})",
    ),
    NEW_CERTIFICATE: (
        "its certificate is not known there, or has expired",
        "upload the certificate of {file}: Entra admin center → App registrations → {id} → Certificates & secrets",
    ),
    CLOCK_SKEW: (
        "this machine's clock is wrong",
        "set it (timedatectl set-ntp true): it is {clock}",
    ),
    "700016": (
        "the tenant has no such application",
        "compare {client} with the application id in the tenant of {tenant}",
    ),
    "90002": (
        "there is no such tenant",
        "put the directory's id into {tenant} (Entra admin center → Overview → Tenant ID)",
    ),
    "7000112": (
        "the application is disabled",
        "Entra admin center → Enterprise applications → {id} → Properties: enable it for sign-in",
    ),
    "7000229": (
        "the tenant has the registration, but no application made from it",
        "Entra admin center → App registrations → {id} → API permissions: grant admin consent",
    ),
    "53003": (
        "a Conditional Access policy of the tenant blocks it",
        "Entra admin center → Sign-in logs → Service principal sign-ins names the policy: let {id} in from here",
    ),
    "500011": (
        "the tenant does not have the service that the token is for",
        "compare {tenant} and CLOUD with the tenant that has Exchange Online",
    ),
    "900382": (
        "the application and the tenant belong to different clouds",
        "set CLOUD to the tenant's (global, gcc_high, dod or china), and register the application there",
    ),
    "1000502": (
        "its certificate is not valid yet or has expired, by Microsoft's clock",
        "compare its dates with the time; where it ended, make a new one, upload it to {id}, name it in {file}",
    ),
    "7000214": (
        "its certificate was revoked",
        "make a new certificate, upload it to {id}, name it in {file}",
    ),
}
_KNOWN["900021"] = _KNOWN["900023"] = _KNOWN["90002"]
_KNOWN["7000277"] = _KNOWN["7000214"]
_KNOWN_BY_PROOF: Mapping[bool, Mapping[str, tuple[str, str]]] = {
    False: {},
    True: {
        EXPIRED_CREDENTIAL: (
            "its certificate has expired",
            "make a new certificate, upload it to {id}, name it in {file}",
        )
    },
}


def explanation(numbers: Sequence[str], *, certificate: bool) -> tuple[str, str, str]:
    """(the number that tells most, what it means, the fix as a template). `certificate`: not a secret was sent."""
    known = {**_KNOWN, **_KNOWN_BY_PROOF[certificate]}
    number = next((one for one in numbers if one in known), numbers[0] if numbers else "")
    return number, *known.get(number, _UNKNOWN if number else _SILENT)
