"""Mail that belongs to no connector is stuck: how much, until when, why, for whom, what to do. Pure."""

from __future__ import annotations

from bot.core.forecast import plain_span as span
from bot.core.unassigned import UNWATCHED, Likely, likely
from bot.core.views import IncidentView
from bot.slack.alert_parts import ack_button, history, waiting
from bot.slack.blocks import Message, actions, context, fields, header, message, section
from bot.slack.countdown import overview
from bot.slack.evidence import code_line
from bot.slack.lists import LOOK
from bot.slack.queues import looked_at, stale_lines, top_columns
from bot.slack.text import Mrkdwn, code, joined, lines, mrkdwn, num, plain, when
from bot.slack.wording import emoji, state_words
from storage.records import IncidentState

REASONS_SHOWN = 5
TITLE = "mail that belongs to no known connector is stuck"
LOOK_INTO = mrkdwn("{} shows ages, reasons, recipients and senders.", LOOK)
FILTER = Mrkdwn(
    "*A content filter* or other program that mail passes through on the host is down, and holds up all mail: "
    "a refused connection to `127.0.0.1` is typical. Start it; Postfix names it in `content_filter` (`postconf`) "
    "or `master.cf`."
)
NO_ROUTE = Mrkdwn(
    "*Exchange Server's Unreachable queue*: no send connector carries these domains, or the one that did is "
    "disabled. `Get-Queue` and `Get-SendConnector` show both."
)
ELSEWHERE = Mrkdwn(
    "*Servers of other organisations* (their MX) can't be reached: one domain with most of the mail is that "
    "domain's trouble; many domains at once point to your own DNS, outbound port 25, or a block list."
)
LIKELY = {
    Likely.FILTER: (Mrkdwn("Most likely a content filter on the mail system's own host is down."), FILTER),
    Likely.NO_ROUTE: (Mrkdwn("Most likely no send connector carries it."), NO_ROUTE),
}
MOVES = Mrkdwn("Little of the mail that belongs to no known connector is stuck any more.")
NOT_WATCHED = Mrkdwn("`MFI_UNASSIGNED_COUNT` is 0: mail that belongs to no known connector opens no alert any more.")


def render_unassigned(view: IncidentView, workspace: str) -> Message:
    """The message of such an incident as things stand."""
    incident = view.incident
    if incident.state is IncidentState.RESOLVED:
        return _ended(view, workspace)
    head = mrkdwn("{} #{} {}: {}", emoji(incident), num(incident.id), state_words(incident), TITLE)
    first = view.queue.first_expiry_at
    deadline = mrkdwn(" ({})", when(first)) if first else Mrkdwn("")
    most_likely = likely(view.queue)
    guess = LIKELY[most_likely][0] if most_likely else Mrkdwn("")
    return message(
        joined([mrkdwn("{}. {}.", head, waiting(view)), guess, mrkdwn("Next: {}", LOOK)], " "),
        [
            header(plain(head, 150)),
            section(
                lines(
                    mrkdwn("*{}*{}", waiting(view), deadline),
                    stale_lines(view.stale, view.now),
                    *overview(view.clock),
                    _systems(view),
                )
            ),
            section(lines(Mrkdwn("*Why*, by number of messages"), *_reasons(view), guess)),
            fields(*top_columns(view.top)),
            section(lines(Mrkdwn("*What to do*"), *_what_to_do(most_likely))),
            context(history(view, workspace), looked_at(view.top)),
            actions(ack_button(incident)),
        ],
    )


def _systems(view: IncidentView) -> Mrkdwn:
    told = view.told.get("systems")
    names = [code(name, 60) for name in told[:8]] if isinstance(told, list) else []
    return mrkdwn("in {}", joined(names, ", ")) if names else Mrkdwn("")


def _reasons(view: IncidentView) -> list[Mrkdwn]:
    """The most frequent ones."""
    groups = sorted(view.queue.by_code, key=lambda group: -group.count)
    rest = sum(group.count for group in groups[REASONS_SHOWN:])
    more = [mrkdwn("*{}* with other codes", rest)] if rest else []
    return [mrkdwn("• {}", code_line(group)) for group in groups[:REASONS_SHOWN]] + more


def _what_to_do(most_likely: Likely | None) -> list[Mrkdwn]:
    """The step that the reasons point to comes first."""
    first = LIKELY[most_likely][1] if most_likely else LOOK_INTO
    steps = [first, *(step for step in (LOOK_INTO, FILTER, NO_ROUTE, ELSEWHERE) if step is not first)]
    return [mrkdwn("{}. {}", n, step) for n, step in enumerate(steps, 1)]


def _ended(view: IncidentView, workspace: str) -> Message:
    incident = view.incident
    said = NOT_WATCHED if incident.resolution == UNWATCHED else MOVES
    left = mrkdwn("Still in the queue: {}.", waiting(view)) if view.queue.total else Mrkdwn("")
    lasted = (incident.resolved_at or incident.updated_at) - incident.opened_at
    head = mrkdwn("{} #{} {}: mail that belongs to no known connector", emoji(incident), num(incident.id),
                  state_words(incident))  # fmt: skip
    return message(
        joined([mrkdwn("{}. {}", head, said), left], " "),
        [
            header(plain(head, 150)),
            section(lines(said, mrkdwn("It was open for {}.", span(lasted)), left)),
            context(history(view, workspace), mrkdwn("resolved {}", when(incident.resolved_at or incident.updated_at))),
        ],
    )
