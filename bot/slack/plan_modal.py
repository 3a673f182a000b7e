"""The Fix now dialog: what would be done, in numbers, before anybody can say yes. Pure.

`private_metadata` carries the action's id and nothing else; the plan shown is the stored one, and what is submitted is
checked against storage again. The blocks that people fill in are `steps` and `name`.
"""

from __future__ import annotations

from collections.abc import Sequence

from bot.core.by_hand import ADMIN_CENTER, command_in
from bot.core.fix_plan import Plan, PlanStep, RefusedStep
from bot.slack.blocks import MAX_SECTION, Block, View, context, divider, modal, plain_object, section
from bot.slack.text import Mrkdwn, code, joined, lines, mrkdwn, num, plain, prose, source, when
from bot.slack.wording import count
from storage.records import Action

CALLBACK = "mfi.fix"
LOADING_CALLBACK = "mfi.fix_loading"
STEPS, NAME = "steps", "name"
BY_HAND = "By hand, because mfi can't or may not"
MOST_OF_COMMAND = 2400
"""Characters of a command: a shortened one would be worse than none, and none of ours is this long."""
NOTES_BLOCKS, BY_HAND_BLOCKS = 8, 40
"""Paragraphs for each list: a dialog has 100 blocks, and the steps need theirs."""


def loading_view(incident_id: int) -> View:
    """Shown at once, because the click's trigger lives three seconds and a plan may take longer."""
    return modal(
        "Fix now",
        [section(mrkdwn("⏳ Reading the present facts for #{} …", num(incident_id)))],
        callback_id=LOADING_CALLBACK,
        close="Cancel",
    )


def plan_view(action: Action, plan: Plan) -> View:
    """The plan of this offer, with the steps to choose and the name to type; one without steps is only to be read."""
    if not plan.steps:
        shown = [section(_head(action, plan)), section(_refused(plan))]
        lists = [*_list("Left alone", plan.notes), *_by_hand(BY_HAND, plan.by_hand)]
        return modal("Fix by hand", [*shown, *lists], callback_id=LOADING_CALLBACK)
    return modal(
        "Fix now (dry run)" if plan.dry_run else "Fix now",
        [
            section(_head(action, plan)),
            divider(),
            *(section(_step(number, step)) for number, step in enumerate(plan.steps, 1)),
            section(_refused(plan)),
            *_list("Left alone", plan.notes),
            *_by_hand("By hand instead" if plan.dry_run else BY_HAND, plan.by_hand),
            divider(),
            _choice(plan),
            _name_input(plan),
            context(_small_print(plan)),
        ],
        callback_id=CALLBACK,
        private_metadata=action.id,
        submit="Run dry run" if plan.dry_run else "Fix now",
        close="Cancel",
    )


def dry_run_view(would: Sequence[str]) -> View:
    """Nothing was changed; this is what would have been."""
    shown = [mrkdwn("• {}", prose(line, 600)) for line in would[:10]]
    head = Mrkdwn("🧪 *Dry run*: nothing was changed. With `MFI_ACTIONS=on`, mfi would:")
    return modal("Fix now (dry run)", [section(lines(head, *shown))], callback_id=LOADING_CALLBACK)


def waiting_view(action: Action) -> View:
    """Nothing was changed yet: somebody else has to say yes."""
    text = lines(
        Mrkdwn("🔒 *A second person has to approve this*: nothing was changed yet."),
        mrkdwn(
            "The thread of #{} shows the steps, with the buttons. It waits until {}.",
            num(action.incident_id), when(action.expires_at),
        ),
    )  # fmt: skip
    return modal("Fix now", [section(text)], callback_id=LOADING_CALLBACK)


def refused_view(reason: Mrkdwn) -> View:
    """Nothing was done, and why."""
    return modal("Fix now", [section(mrkdwn("🚫 {}", reason))], callback_id=LOADING_CALLBACK)


def _head(action: Action, plan: Plan) -> Mrkdwn:
    is_dry = plan.dry_run and plan.steps
    dry = Mrkdwn("🧪 *Dry run*: nothing will be changed. MFI_ACTIONS=on lets mfi act.") if is_dry else None
    what = mrkdwn("Connector {}, incident #{}", code(plan.connector_name, 120), num(action.incident_id))
    return lines(dry, what, _numbers(plan))


def _step(number: int, step: PlanStep) -> Mrkdwn:
    warning = mrkdwn("⚠️ *Can't be undone:* {}", prose(step.irreversible, 300)) if step.irreversible else None
    title = mrkdwn("*{}. {}*", num(number), prose(step.title, 150))
    proof = mrkdwn("🔎 {}", prose(step.proof, 200)) if step.proof else None
    return lines(title, prose(step.effect, 900), _bounces(step), warning, proof)


def _refused(plan: Plan) -> Mrkdwn:
    """What was considered and isn't offered: why, and the way out."""
    if not plan.refused:
        return Mrkdwn("")
    return lines(Mrkdwn("*Not offered*"), *map(_refusal, plan.refused))


def _refusal(one: RefusedStep) -> Mrkdwn:
    way_out = mrkdwn("_Way out:_ {}", prose(one.way_out, 300))
    return lines(mrkdwn("🚫 *{}*", prose(one.title, 150)), prose(one.why, 400), way_out)


def _bounces(step: PlanStep) -> Mrkdwn:
    """Which senders get a bounce, the most first."""
    if not step.senders:
        return Mrkdwn("")
    shown = [mrkdwn("{} ({})", code(one.sender, 100), one.count) for one in step.senders[:10]]
    others = step.more_senders + max(0, len(step.senders) - 10)
    more = [mrkdwn("{} more", others)] if others else []
    return mrkdwn("A bounce goes to: {}", joined([*shown, *more], ", "))


def _numbers(plan: Plan) -> Mrkdwn:
    rest = ((plan.unknown_waiting, "for addresses that nobody knows of"), (plan.unseen, "not looked at one by one"))
    return mrkdwn(
        "*{} waiting*: {} for valid recipients, {} for addresses that the directory does not have{}{}",
        count(plan.waiting, "message"),
        plan.valid_waiting,
        plan.invalid_waiting,
        *(mrkdwn(", {} {}", number, what) if number else Mrkdwn("") for number, what in rest),
    )


def _list(title: str, items: Sequence[str]) -> list[Block | None]:
    return _paragraphs(title, [mrkdwn("• {}", prose(item, 400)) for item in items], NOTES_BLOCKS)


def _by_hand(title: str, items: Sequence[str]) -> list[Block | None]:
    return _paragraphs(title, [mrkdwn("• {}", _line(item)) for item in items], BY_HAND_BLOCKS)


def _line(item: str) -> Mrkdwn:
    """A command stands in a code span, where Slack shows it as it is typed; a page of the admin center is a link."""
    if found := command_in(item):
        where, command = found
        return mrkdwn("{}: {}", where, code(command, MOST_OF_COMMAND))
    page, _, path = item.removeprefix("Admin center (").partition("): ")
    if item.startswith(f"Admin center ({ADMIN_CENTER}") and path:
        return mrkdwn("{}: {}", source(page, "Admin center"), prose(path, 600))
    return prose(item, 600)


def _paragraphs(title: str, items: Sequence[Mrkdwn], most: int) -> list[Block | None]:
    """All of these in as few paragraphs as they need; what would take more than `most` is counted at the end."""
    if not items:
        return []
    paragraphs = [mrkdwn("*{}*", title)]
    for place, item in enumerate(items):
        if len(paragraphs[-1]) + len(item) + 1 <= MAX_SECTION:
            paragraphs[-1] = lines(paragraphs[-1], item)
        elif len(paragraphs) < most:
            paragraphs.append(item)
        else:
            left = count(len(items) - place, "line")
            paragraphs.append(mrkdwn("… and {} more: the same for the connector's other domains.", left))
            break
    return [section(paragraph) for paragraph in paragraphs]


def _choice(plan: Plan) -> Block:
    options = [{"text": plain_object(plain(step.title, 75), 75), "value": str(step.kind)} for step in plan.steps[:10]]
    return {
        "type": "input",
        "block_id": STEPS,
        "label": plain_object("Steps to run, in this order", 200),
        "element": {"type": "checkboxes", "action_id": STEPS, "options": options, "initial_options": options},
    }


def _name_input(plan: Plan) -> Block:
    return {
        "type": "input",
        "block_id": NAME,
        "label": plain_object("Type the connector's name to confirm", 200),
        "hint": plain_object(f"It is: {plain(plan.connector_name, 150)}", 200),
        "element": {"type": "plain_text_input", "action_id": NAME, "max_length": 300},
    }


def _small_print(plan: Plan) -> Mrkdwn:
    if plan.dry_run:
        return Mrkdwn("The thread will say what would have been done.")
    takes = Mrkdwn(" (changes take 30 to 60 minutes)") if plan.slow else Mrkdwn("")
    return mrkdwn(
        "Facts are read again before the first step; if anything changed, nothing is done. Each step is reported in "
        "the thread and verified later{}.",
        takes,
    )
