"""The life of a task: a picture and a table, from `LEADS_TO`."""

from longcall.core.lifecycle import LEADS_TO, Event
from longcall.core.task import State
from made_from.markdown import table

SAID = {
    Event.TAKE: "a runner begins the next attempt",
    Event.SETTLE: "the attempt has ended: 2xx, policy says again, policy says no, or its cancel was asked for",
    Event.EXPIRE: "`taskTimeout` was over before the next attempt began",
    Event.CANCEL: "the caller wants no more of it; a running attempt is asked to stop, and its owner settles it",
    Event.RETRY: "`:retry`: what waits goes now, what failed or was cancelled goes again with a fresh budget",
}
COLOURS = {Event.TAKE: "#1f2937", Event.SETTLE: "#1f2937", Event.EXPIRE: "#b45309", Event.CANCEL: "#b91c1c", Event.RETRY: "#1d4ed8"}
WIDTH, HEIGHT = 140, 44
PLACES = {
    State.SCHEDULED: (20, 74),
    State.WAITING: (20, 274),
    State.RUNNING: (320, 174),
    State.SUCCEEDED: (620, 44),
    State.FAILED: (620, 174),
    State.CANCELLED: (620, 324),
}
# How each arrow goes, and where its event is written. An arrow of the table that is not here is a KeyError: draw it.
WAYS = {
    (State.SCHEDULED, State.RUNNING, Event.TAKE): ("M160 100 C240 105 270 150 318 182", (252, 130)),
    (State.WAITING, State.RUNNING, Event.TAKE): ("M160 284 C230 270 270 230 330 220", (232, 256)),
    (State.RUNNING, State.WAITING, Event.SETTLE): ("M320 198 C230 200 170 220 120 272", (212, 206)),
    (State.RUNNING, State.SUCCEEDED, Event.SETTLE): ("M440 174 C480 120 540 76 618 66", (500, 119)),
    (State.RUNNING, State.FAILED, Event.SETTLE): ("M460 196 L618 196", (535, 188)),
    (State.RUNNING, State.CANCELLED, Event.SETTLE): ("M440 218 C490 280 540 330 618 342", (510, 282)),
    (State.SCHEDULED, State.FAILED, Event.EXPIRE): ("M160 86 C330 70 560 90 652 172", (380, 74)),
    (State.WAITING, State.FAILED, Event.EXPIRE): ("M160 292 C360 300 560 290 652 220", (372, 302)),
    (State.SCHEDULED, State.CANCELLED, Event.CANCEL): (
        "M90 74 V32 Q90 16 106 16 H790 Q806 16 806 32 V330 Q806 346 790 346 H762",
        (300, 21),
    ),
    (State.WAITING, State.CANCELLED, Event.CANCEL): ("M150 318 C250 372 480 374 618 354", (380, 358)),
    (State.RUNNING, State.RUNNING, Event.CANCEL): ("M364 174 C350 122 428 122 414 172", (389, 128)),
    (State.SCHEDULED, State.SCHEDULED, Event.RETRY): ("M66 118 C50 166 126 166 112 120", (89, 168)),
    (State.WAITING, State.WAITING, Event.RETRY): ("M36 274 C24 226 88 226 76 272", (54, 228)),
    (State.FAILED, State.WAITING, Event.RETRY): ("M678 218 C620 420 240 430 108 320", (300, 397)),
    (State.CANCELLED, State.WAITING, Event.RETRY): ("M690 368 C650 480 150 480 76 320", (300, 450)),
}


def rows() -> str:
    """What can happen in which state, and what it leads to."""
    return table(
        ("in", "event", "leads to", "when"),
        [(before, event, ", ".join(after for after in State if after in ends), SAID[event]) for (before, event), ends in LEADS_TO.items()],
    )


def picture() -> str:
    """The same as an SVG, on a ground of its own, so that it can be read on a dark page too."""
    arrows = [(before, after, event) for (before, event), ends in LEADS_TO.items() for after in State if after in ends]
    markers = [
        f'<marker id="{event}" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        f'<path d="M0 0L8 4L0 8z" fill="{COLOURS[event]}"/></marker>'
        for event in Event
    ]
    return "\n".join(
        [
            '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 850 490" font-family="system-ui, sans-serif" font-size="13" role="img">',
            "<title>The life of a task: SCHEDULED, RUNNING, WAITING, and three ends</title>",
            f"<defs>{''.join(markers)}</defs>",
            '<rect width="850" height="490" rx="8" fill="#ffffff"/>',
            *(_arrow(*each) for each in arrows),
            *(_box(state) for state in State),
            "</svg>",
            "",
        ]
    )


def _arrow(before: State, after: State, event: Event) -> str:
    way, (x, y) = WAYS[before, after, event]
    return (
        f'<path d="{way}" fill="none" stroke="{COLOURS[event]}" stroke-width="1.6" marker-end="url(#{event})"/>'
        f'<text x="{x}" y="{y}" text-anchor="middle" fill="{COLOURS[event]}" stroke="#ffffff" stroke-width="4" paint-order="stroke">'
        f"{event}</text>"
    )


def _box(state: State) -> str:
    x, y = PLACES[state]
    fill, line = ("#f3f4f6", "#4b5563") if state.ended else ("#eff6ff", "#1d4ed8")
    return (
        f'<rect x="{x}" y="{y}" width="{WIDTH}" height="{HEIGHT}" rx="{22 if not state.ended else 6}" fill="{fill}" stroke="{line}" '
        f'stroke-width="1.6"/><text x="{x + WIDTH // 2}" y="{y + 27}" text-anchor="middle" fill="#111827" font-weight="600">{state}</text>'
    )
