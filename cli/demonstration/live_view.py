"""Shows a demo while it runs. The state is fed with the box's own messages; drawing is a pure function of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

JOURNAL_MAX = 5
LINE_EVERY_S = 5.0
SHARES = {"inference": "blue", "training": "green", "labelling": "magenta", "loading": "yellow", "idle": "bright_black"}
STATES = {"watching": "green", "starting": "cyan", "settling": "cyan"}  # anything else: at work, yellow
Message = Mapping[str, Any]


@dataclass(slots=True)
class LiveView:
    """Holds the state of the view, fed by the network thread and drawn by another: a message replaces values and
    changes none in place.
    """

    duration_s: float
    slo_ms: float | None = None
    title: str = "Leeway"
    seen: Message = field(default_factory=dict)  # the last statistics
    journal: tuple[str, ...] = ()
    late: int = 0
    answered: int = 0
    elapsed_s: float = 0.0  # when the screen was last drawn; dates the journal

    def message(self, kind: str, table: Message) -> None:
        """Takes in a message of the box; kinds that are not shown are ignored."""
        match kind:
            case "stats":
                self.stats(table)
            case "events" | "event":
                self.event(table)
            case "results" | "result":
                self.result(table)

    def stats(self, table: Message) -> None:
        self.seen = table

    def event(self, table: Message) -> None:
        self.journal = (*self.journal, self._line_of(table))[-JOURNAL_MAX:]

    def result(self, table: Message) -> None:
        """Counts an answer, and learns the SLO from the first one that states it."""
        slo = _table(table, "slo")
        self.answered += 1
        self.late += slo.get("met") is False
        if self.slo_ms is None:
            self.slo_ms = _number(slo.get("deadline_ms"))

    def render(self, elapsed_s: float) -> RenderableType:
        """Returns the whole screen at `elapsed_s` seconds after the start."""
        journal = Text("\n".join(self.journal) or "nothing happened yet", no_wrap=True, overflow="ellipsis")
        parts: list[RenderableType] = [
            self._head(elapsed_s),
            streams_table(self),
            models_table(self),
            time_bar(_table(self.seen, "time_share_recent", "time_share")),
            Text(f"waiting  {queue_words(_table(self.seen, 'queues')) or 'nothing'}", style="dim"),
        ]
        return Group(*parts, Rule("journal", style="dim"), journal)

    def line(self, elapsed_s: float) -> str:
        """Returns the state in one line, for a log."""
        frames, share = _table(self.seen, "frames"), _table(self.seen, "time_share_recent", "time_share")
        spent = (_number(share.get("training")) or 0.0) + (_number(share.get("labelling")) or 0.0)
        variants = ", ".join(f"{n} {m.get('variant', '?')} {m.get('state', '')}".rstrip() for n, m in self._models())
        return (
            f"{elapsed_s:4.0f} s  {_whole(frames.get('answered'))} answered, {_dropped(frames.get('dropped'))} dropped,"
            f" p99 {_ms(_table(self.seen, 'latency_ms').get('p99'))}, adapting {100 * spent:.0f} % of the time"
            + (f"; {variants}" if variants else "")
        )

    def _models(self) -> list[tuple[str, Message]]:
        return [(str(n), m) for n, m in _table(self.seen, "models").items() if isinstance(m, Mapping)]

    def _head(self, elapsed_s: float) -> Table:
        frames, slo = _table(self.seen, "frames"), _number(_table(self.seen, "slo").get("attainment"))
        left = max(0.0, self.duration_s - elapsed_s)
        table = Table.grid(expand=True)
        table.add_column()
        table.add_column(justify="right")
        kept = "–" if slo is None else f"{100 * slo:.2f} %"
        table.add_row(
            Text.assemble((self.title, "bold"), f"  {elapsed_s:.0f} s, {left:.0f} s to go"),
            f"{_whole(frames.get('answered'))} answered, {_dropped(frames.get('dropped'))} dropped, in time {kept}",
        )
        return table

    def _line_of(self, event: Message) -> str:
        kind, model = str(event.get("kind", "event")), str(event.get("model", ""))
        known = {"kind", "model", "time", "at", "topic", "node"}
        evidence = ", ".join(f"{k} {_short(v)}" for k, v in event.items() if k not in known and v is not None)
        return f"{self.elapsed_s:5.0f} s  {kind:<10} {model:<10} {evidence}".rstrip()


# ---- pieces of the screen ------------------------------------------------------------------------------------------


def streams_table(view: LiveView) -> Table:
    """Returns the table of the cameras."""
    table = Table(box=SIMPLE_HEAD, expand=True, show_edge=False, padding=(0, 1))
    for name in ("stream", "fps", "in", "answered", "dropped", "p99"):
        table.add_column(name, justify="left" if name in ("stream", "dropped") else "right", no_wrap=True)
    for name, stream in sorted(_table(view.seen, "streams").items()):
        p99 = _number(stream.get("p99_ms"))
        late = p99 is not None and view.slo_ms is not None and p99 > view.slo_ms
        limit = "" if view.slo_ms is None else f" of {view.slo_ms:g}"
        fps = _number(stream.get("fps"))
        table.add_row(
            str(name),
            "–" if fps is None else f"{fps:.1f}",
            _whole(stream.get("in")),
            _whole(stream.get("answered")),
            drop_words(stream.get("dropped")),
            Text(_ms(p99) + limit, style="red" if late else "green" if p99 is not None else ""),
        )
    return table


def models_table(view: LiveView) -> Table:
    """Returns the table of the models."""
    table = Table(box=SIMPLE_HEAD, expand=True, show_edge=False, padding=(0, 1))
    for name in ("model", "variant", "estimate", "drift", "so far"):
        table.add_column(name, justify="right" if name == "estimate" else "left", no_wrap=True)
    for name, model in view._models():
        estimate, state = _number(model.get("accuracy_estimate")), str(model.get("state") or "–")
        table.add_row(
            name,
            str(model.get("variant") or "–"),
            "–" if estimate is None else f"{100 * estimate:.0f} %",
            Text(state, style=STATES.get(state, "yellow" if state != "–" else "")),
            event_words(model),
        )
    return table


def time_bar(shares: Message, width: int = 60) -> Text:
    """Returns a bar of `width` characters for the device's time, and under it every activity that took any."""
    bar, words, drawn = Text("device   "), Text("\n        "), 0
    for name, style in SHARES.items():
        share = min(1.0, max(0.0, _number(shares.get(name)) or 0.0))
        length = min(round(share * width), width - drawn)
        bar.append(("░" if name == "idle" else "█") * length, style=style)
        drawn += length
        if share >= 0.005:
            words.append(f" {name} {100 * share:.0f} %", style=style)
    bar.append("░" * (width - drawn), style="bright_black")
    return bar.append_text(words)


def queue_words(queues: Message) -> str:
    return ", ".join(f"{name[:16]} {int(n)}" for name, n in queues.items() if _number(n))


def event_words(model: Message) -> str:
    """Returns a model's events as words, e.g. `2 alarms, 1 audit`."""
    some = [(int(_number(model.get(what)) or 0), what) for what in ("alarms", "audits", "promotions", "rollbacks")]
    return ", ".join(f"{n} {what if n > 1 else what[:-1]}" for n, what in some if n)


def drop_words(dropped: object) -> str:
    """Returns drops as words, e.g. `12 late, 3 superseded`, the largest reason first."""
    if isinstance(dropped, Mapping):
        some = sorted(((int(n), str(r)) for r, n in dropped.items() if _number(n)), key=lambda it: (-it[0], it[1]))
        return ", ".join(f"{n} {reason}" for n, reason in some) or "0"
    return _whole(dropped)


def _dropped(dropped: object) -> str:
    return _whole(sum(int(_number(n) or 0) for n in dropped.values()) if isinstance(dropped, Mapping) else dropped)


def _table(message: Message, *keys: str) -> Message:
    """Returns the table under the first of the keys that holds one; empty when none does."""
    return next((value for key in keys if isinstance(value := message.get(key), Mapping)), {})


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _whole(value: object) -> str:
    n = _number(value)
    return "0" if n is None else f"{n:,.0f}"


def _ms(value: object) -> str:
    n = _number(value)
    return "–" if n is None else f"{n:.0f} ms"


def _short(value: object, most: int = 40) -> str:
    text = f"{value:.3g}" if isinstance(value, float) else str(value)
    return text if len(text) <= most else text[: most - 1] + "…"


# ---- drawing -------------------------------------------------------------------------------------------------------


def viewer(view: LiveView, console: Console, quiet: bool = False) -> "Screen | Lines":
    """Returns a live view for a terminal; for a pipe, a log or `quiet`, one that prints a line every few seconds."""
    return Lines(view, console) if quiet or not console.is_terminal else Screen(view, console)


class Screen:
    """Draws the view on a terminal while it is entered; leaves the terminal as it was."""

    def __init__(self, view: LiveView, console: Console):
        self.view, self.message = view, view.message
        self.live = Live(view.render(0.0), console=console, auto_refresh=False, transient=True)

    def __enter__(self) -> "Screen":
        self.live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.live.stop()

    def refresh(self, elapsed_s: float) -> None:
        self.view.elapsed_s = elapsed_s
        self.live.update(self.view.render(elapsed_s), refresh=True)


class Lines:
    """Prints the view as lines, for output that is not a terminal."""

    def __init__(self, view: LiveView, console: Console):
        self.view, self.message, self.console = view, view.message, console
        self.next_s = LINE_EVERY_S

    def __enter__(self) -> "Lines":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def refresh(self, elapsed_s: float) -> None:
        self.view.elapsed_s = elapsed_s
        if elapsed_s >= self.next_s:
            self.next_s = (elapsed_s // LINE_EVERY_S + 1) * LINE_EVERY_S
            self.console.print(self.view.line(elapsed_s), highlight=False, soft_wrap=True, markup=False)
