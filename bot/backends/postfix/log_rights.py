"""Who may read a mail log that can't be read, and the exact way to let mfi's user in. Pure but for `rights_of`.

A group helps only where the log belongs to one that may read it: a log that is root:root 0600 is closed to everybody.
"""

from __future__ import annotations

import grp
import pwd
import re
from pathlib import Path

from bot.core.capabilities import Place
from bot.core.postfix_place import on_host, tool
from bot.core.quoting import shell_word

_GROUP_READS = 0o040
READERS = "adm"
"""The group that reads logs on Debian, Ubuntu and Red Hat."""
_SAID = re.compile(
    r"the mail log (?P<file>/.*?)(?: \((?P<owner>[^\s:()]+):(?P<group>[^\s:()]+) (?P<mode>[0-7]{1,5})\))? can't be read"
    r"(?: by (?P<user>\S+))?"
)


def rights_of(path: Path) -> str:
    """ " (root:adm 640)" for a log's own owner, group and mode; nothing where not even those can be seen."""
    try:
        found = path.stat()
    except OSError:
        return ""
    return f" ({_user_name(found.st_uid)}:{_group_name(found.st_gid)} {found.st_mode & 0o7777:o})"


def log_fix(error: str, user: str, place: Place, *, by_postfix: bool) -> str:
    """What lets the user read the log. `user`: as whom it is read, where the error does not say it; `by_postfix`: the
    log is Postfix's own (maillog_file), so no syslog daemon sets its mode.
    """
    said, where = _SAID.search(error), on_host(place)
    if said is None:
        return f"let {user} read the mail log{where}"
    file, user = shell_word(said["file"]), said["user"] or user
    number = user.removeprefix("#")
    if said["mode"] is None:
        return (
            f"as root{where}: `namei -l {file}` shows what keeps {user} out of it: a directory, or the log's own mode"
        )
    if number.isdigit():
        return f"as root{where}: setfacl -m u:{number}:r {file} (again after each rotation: put it into postrotate)"
    if int(said["mode"], 8) & _GROUP_READS and said["group"] != "root":
        return f"as root{where}: usermod -aG {said['group']} {user}, then restart mfi"
    opened = f"chgrp {READERS} {file} && chmod 0640 {file} && usermod -aG {READERS} {user}"
    return f"as root{where}: {opened}, then restart mfi; {_lasting(place, by_postfix=by_postfix)}"


def _lasting(place: Place, *, by_postfix: bool) -> str:
    if by_postfix:
        wider = f"{tool(place, 'postconf')} -e maillog_file_permissions=0644"
        return f"Postfix makes the next log anew: from Postfix 3.9, {wider}; else repeat this after each rotation"
    return f"so that it lasts: “create 0640 root {READERS}” in its logrotate entry, and the same in rsyslog (FileGroup)"


def _user_name(number: int) -> str:
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return str(number)


def _group_name(number: int) -> str:
    try:
        return grp.getgrgid(number).gr_name
    except KeyError:
        return str(number)
