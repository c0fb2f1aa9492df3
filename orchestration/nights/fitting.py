"""As many trials as fit: their places in the time until the bell and on the disk."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from dataclasses import replace

from orchestration.asking import duration, size, time_of
from orchestration.feature_costs import Building
from orchestration.nights.window import Night
from orchestration.nights.work import TURNS, Entry


class Fitting:
    """The time and the disk that are left while one trial after the other gets its place; studies share both."""

    def __init__(self, now: dt.datetime, room_bytes: int) -> None:
        self.free = now
        """From when on the machine has nothing to do, as far as that is known."""
        self.known = True
        """False where something is to run before of which nobody knows how long it takes."""
        self._room = room_bytes

    def place(self, night: Night, entries: Iterable[Entry], features: Building) -> list[Entry]:
        """The entries of one study that are to run, each with its place in the night or why it has none.

        What would be cut by the bell is left for `place_turn`: it takes no time from what ends in this night, of
        whatever study. Only what was paused keeps its place and goes on.
        """
        self.free = max(self.free, night.begins) + dt.timedelta(seconds=features.seconds or 0.0)
        self._room -= features.disk_bytes
        placed, left = [], {"": 0}
        for one in entries:
            turn = max(self._turn(night, one), left.get(one.chain, 0) if one.when == "tonight" else 0)
            if one.chain:  # what shares its epochs would have to train them instead
                left[one.chain] = turn
            placed.append(replace(one, turn=turn) if turn else self._placed(night, one))
        return placed

    def place_turn(self, night: Night, entries: Iterable[Entry], turn: int) -> list[Entry]:
        """With what all turns before have left. At last also those of which no night is long enough for an epoch: it
        may be misjudged."""
        placed = [self._placed(night, one) if one.turn == turn else one for one in entries]
        return sorted(placed, key=lambda one: len(TURNS) if one.when in ("given up", "done") else one.turn)

    def _turn(self, night: Night, entry: Entry) -> int:
        if entry.when != "tonight":
            return 0
        if _too_long(night, entry):
            return 2
        if not self.known or entry.seconds is None or entry.state in ("running", "paused"):
            return 0
        left = (night.ends - self.free).total_seconds()
        return int(0 < left < entry.seconds and entry.epoch_seconds <= left)

    def _placed(self, night: Night, entry: Entry) -> Entry:
        if entry.when != "tonight":
            return entry
        full = self.free >= night.ends
        if not full and (lacking := self._lacking(entry)):
            return replace(entry, when="no room", reason=lacking)
        entry = self._late(entry, night) if full else self._timed(entry, night)
        if entry.when != "next night":
            self._room -= entry.disk_bytes
        return entry

    def _lacking(self, entry: Entry) -> str:
        if self._room >= entry.disk_bytes:
            return ""
        needs = f"needs up to {size(entry.disk_bytes)} and " if entry.disk_bytes else ""
        left = size(self._room) if self._room > 0 else "nothing"
        return f"{needs}{left} of the disk is left for it: `nocturne clean` shows what can go"

    def _timed(self, entry: Entry, night: Night) -> Entry:
        """The entry at the present place, where the night is not full."""
        begins = self.free if self.known else None
        if entry.seconds is None:
            said = "begun in order: how long it takes is not known" if self.known else ""
            self.known = False
            return replace(entry, begins=begins, reason=entry.reason or said)
        if not self.known:
            return replace(entry, reason=entry.reason or "if time is left: how long those before it take is not known")
        took = dt.timedelta(seconds=entry.seconds)
        if self.free + took <= night.ends:
            if self.free + dt.timedelta(seconds=entry.at_most or 0.0) > night.ends:
                said = f"goes on next night if it does not stop early: at most {duration(entry.at_most)}"
                entry = replace(entry, reason=entry.reason or said)
            self.free += took
            return replace(entry, begins=begins)
        left, epoch = (night.ends - self.free).total_seconds(), entry.epoch_seconds
        bell = night.shown(night.ends)
        if epoch > left and not _too_long(night, entry):
            said = f"not one epoch ({duration(epoch)}) fits into the {duration(left)} that are left until {bell}"
            return replace(entry, when="next night", reason=said)
        takes = time_of(entry.seconds, entry.at_most)
        said = f"takes {takes}, {duration(left)} are left until {bell}: goes on next night from there"
        if epoch > left:
            said = f"one epoch may take {duration(epoch)}, longer than a night: a longer night would let it end"
        self.free = night.ends
        return replace(entry, when="begins tonight", begins=begins, reason=said)

    def _late(self, entry: Entry, night: Night) -> Entry:
        return replace(entry, when="next night", reason=f"the night is full until {night.shown(night.ends)}")


def _too_long(night: Night, entry: Entry) -> bool:
    return entry.epoch_seconds > (night.ends - night.begins).total_seconds()
