"""The four most frequent errors in other languages, where no code survived, as Windows, Linux and Outlook say them.

German, French, Spanish, Italian, Dutch, Portuguese. A small table on purpose: every other text in another language
holds a code, or English words from the mail system, and those decide.
"""

from __future__ import annotations

from knowledge.classify import Cause

C = Cause

PHRASES: tuple[tuple[Cause, str, str], ...] = (
    (
        C.CERT_EXPIRED,
        "abgelaufen|expir|caduc|scadut|verlopen",
        r"zertifikat[^\n]{0,60}abgelaufen|abgelaufenes zertifikat|certifica[a-z]{1,4}\b[^\n]{0,60}"
        r"(?:expir[éo]|caducad|scadut|verlopen|expirado|caducó)",
    ),
    (
        C.NXDOMAIN,
        "nicht gefunden|unbekannt|nicht bekannt|kein derartiger|inconnu|introuvable|desconoc|desconhec|encontrad"
        "|no existe|sconosciut|trovato|bekend|gevonden",
        r"(?:host|server|domain|domäne|rechner)(?:name)?[^\n]{0,40}(?:nicht gefunden|unbekannt|nicht bekannt)"
        r"|name oder der dienst ist nicht bekannt|kein derartiger host|unbekannter host"  # codespell:ignore
        r"|(?:hôte|domaine|nom ou service|nom d'hôte)[^\n]{0,30}(?:inconnu|introuvable)"
        r"|(?:host|dominio|nombre o servicio|nombre de host|servidor)[^\n]{0,30}(?:desconocid|no encontrad|no existe)"
        r"|(?:host|dominio|nome o servizio|nome host)"  # codespell:ignore
        r"[^\n]{0,30}(?:sconosciut|non è stato trovato|non trovato)"
        r"|onbekende host|(?:host|domein|naam of dienst)[^\n]{0,30}(?:niet bekend|onbekend|niet gevonden)"
        r"|(?:host|domínio)[^\n]{0,30}(?:desconhecid|não encontrad)",
    ),
    (
        C.REFUSED,
        "abgelehnt|verweiger|refus|rechaz|rehus|deneg|rifiut|geweigerd|recusa",
        r"verbindung(?:saufbau)?[^\n]{0,60}(?:abgelehnt|verweigert)"
        r"|connexion[^\n]{0,40}refusé|expressément refusé"  # codespell:ignore
        r"|conexión[^\n]{0,40}(?:rechazad|rehusad|denegad)|denegó expresamente|connessione[^\n]{0,40}rifiutat"
        r"|rifiuto persistente|verbinding[^\n]{0,40}geweigerd|conexão[^\n]{0,40}recusad|recusou ativamente",
    ),
    (
        C.CONNECT_TIMEOUT,
        "zeit|délai|tiempo|tempo|time-out|verstreken|scadut|verlopen",
        r"zeitüberschreitung|wartezeit für die verbindung|zeitlimit[^\n]{0,30}überschritten"
        r"|délai (?:d[e'] ?(?:attente|connexion)|imparti)"  # codespell:ignore
        r"|expiró el tiempo|tiempo de (?:espera|conexión)|timeout di connessione|connessione scaduta"
        r"|tempo (?:di attesa )?(?:scadut|esaurit)|tempo (?:limite )?esgotado"  # codespell:ignore
        r"|(?:verbinding|time-out)[^\n]{0,30}(?:verlopen|verstreken|time-out)|time-out (?:van|bij) (?:de )?verbinding",
    ),
)
"""Cause, triggers, pattern: like the rows in words."""
