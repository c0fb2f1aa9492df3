"""What a night taught about a study: who leads now and how sure that is, each result with its uncertainty."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ml.metrics.comparison import IN_DECIBELS
from ml.studies.results import Results
from ml.studies.scores import Scores
from ml.studies.standing import comparable, left_out
from ml.studies.study import Study
from ml.studies.words import counted
from orchestration import answers
from orchestration.comparing import is_share
from orchestration.failures import sentence
from orchestration.resources import Bench, NotReady
from storage.query import NoResults

if TYPE_CHECKING:
    import pandas as pd

SHOWN = 12
"""Results that are shown: the best ones. Those of the night are shown up to twice as many."""

ALIKE = "cannot be told apart"
"""So begins the verdict on a trial that may be as good as the leader."""
AS_GOOD = (ALIKE, "the same ", "as many right ")
"""That, and those on trials whose answers are no worse at all."""

DECIBELS = (*IN_DECIBELS, "snr_in")


@dataclass(frozen=True)
class Measured:
    """A number of one part with its 95 % interval, where there is one."""

    value: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Result:
    """One finished trial beside the others."""

    rank: int
    trial: str
    is_new: bool
    """Finished in this night."""
    changes: str
    """What it says differently from the defaults; "" for the baseline."""
    chosen_by: str
    """Its value of what trials are chosen by, for a person."""
    validation: Measured | None
    test: Measured | None
    verdict: str
    """Against the leader; "" for the leader itself."""
    epochs: str
    seconds: float
    curve: tuple[float, ...]
    """What trials are chosen by, epoch by epoch."""
    same: int
    """Trials that ended with this very model, this one included."""
    remarks: str


@dataclass(frozen=True)
class Learned:
    """The state of a study in the morning."""

    sentence: str
    certainty: str
    """How sure the order is; "" where there is nothing to compare."""
    results: tuple[Result, ...]
    common: str
    """What all that are shown say differently from the defaults; it is not said of each."""
    more: int
    """Results that are not shown."""
    selection: str
    """What trials are chosen by, for a person."""
    metric_name: str
    """What `validation` and `test` of a result are; "" where nothing tells how sure it is."""
    note: str
    """About results of older data, and what could not be drawn; "" where there is neither."""
    analysis: str
    pictures: dict[str, bytes]

    @property
    def metric(self) -> str:
        """`metric_name` for a person."""
        return spoken(self.metric_name)

    @property
    def leader(self) -> Result:
        """The best on validation."""
        return self.results[0]

    @property
    def span(self) -> tuple[float, float]:
        """From the lowest to the highest end of all intervals that are shown."""
        measured = [one for result in self.results for one in (result.validation, result.test) if one is not None]
        lows = [one.value if one.low is None else one.low for one in measured]
        highs = [one.value if one.high is None else one.high for one in measured]
        return min(lows, default=0.0), max(highs, default=1.0)

    @property
    def has_old(self) -> bool:
        """Are there results of earlier nights beside the new ones?"""
        return not all(result.is_new for result in self.results)

    @property
    def scale(self) -> str:
        """`span` for a person."""
        return " to ".join(in_units(self.metric_name, end) for end in self.span)


def learned(bench: Bench, study: Study, new: Collection[str]) -> Learned | None:
    """What is known of the study now; `new` are the trials that finished in this night. None before its first result.

    Compares what nobody has compared yet: a result of the last minutes stands in the report like any other.
    """
    try:
        now = answers.standing(bench, study) if answers.is_compared(bench, study) else answers.compare(bench, study)
    except (NotReady, NoResults):
        return None
    board = comparable(now.leaderboard).sort_values("rank")
    shown = _shown(board, new)
    selection, leader = str(board.iloc[0]["selection_metric"]), str(board.iloc[0]["trial"])
    verdicts = _verdicts(now, leader)
    metric, parts = _with_intervals(now, study, list(shown["trial"]))
    curves = _curves(now, selection, list(shown["trial"]))
    changes, common = _changes(shown)
    analysis, pictures, note = _drawn(study, now)
    return Learned(
        sentence=_sentence(board, selection, new, verdicts),
        certainty=_certainty(board, verdicts),
        results=tuple(
            Result(
                rank=int(row["rank"]),
                trial=trial,
                is_new=trial in new,
                changes=changes[trial],
                chosen_by=in_units(selection, row["selection_value"]),
                validation=parts.get(("validation", trial)),
                test=parts.get(("test", trial)),
                verdict="" if trial == leader else verdicts.get(trial, "not compared yet"),
                epochs=_epochs(row),
                seconds=60.0 * float(row["minutes"] or 0.0),
                curve=curves.get(trial, ()),
                same=int((board["model_key"] == row["model_key"]).sum()) or 1,
                remarks=_text(row["remarks"]),
            )
            for trial, row in shown.set_index("trial", drop=False).iterrows()
        ),
        common=common,
        more=len(board) - len(shown),
        selection=spoken(selection),
        metric_name=metric,
        note=note,
        analysis=analysis,
        pictures=pictures,
    )


def in_units(name: str, value: float | None) -> str:
    """A number of that metric for a person."""
    if value is None or value != value:
        return "–"
    if is_share(name):
        return f"{100 * value:.1f} %"
    return f"{value:.1f} dB" if name.removeprefix("validation_") in DECIBELS else f"{value:.4g}"


def spoken(metric: str) -> str:
    """The name of a metric for a person: `macro F1`, `SI-SDR improvement`."""
    words = metric.replace("si_sdr", "SI-SDR").replace("_", " ")
    return " ".join("F1" if word == "f1" else word for word in words.split())


def _drawn(study: Study, now: Results) -> tuple[str, dict[str, bytes], str]:
    """What the study says and draws of its results, and a note: its trouble costs nobody the results themselves."""
    note = left_out(now.leaderboard)
    try:
        return study.analysis(now), study.leaderboard_pictures(now), note
    except Exception as problem:
        return "", {}, f"{note} Its pictures could not be drawn: {sentence(problem)}".strip()


def _shown(board: pd.DataFrame, new: Collection[str]) -> pd.DataFrame:
    """The best ones, trials with the same model once, and what is new."""
    own = board["model_key"].fillna(board["trial"])
    best = board.index[~own.duplicated()][:SHOWN]
    fresh = board.index[board["trial"].isin(list(new)) & ~own.duplicated()][:SHOWN]
    return board.loc[board.index.isin(best) | board.index.isin(fresh)]


def _changes(shown: pd.DataFrame) -> tuple[dict[str, str], str]:
    """What each trial changes beside the others, and what all of them do."""
    said = {row["trial"]: [one for one in _text(row["changes"]).split("; ") if one] for _, row in shown.iterrows()}
    first = next(iter(said.values()))
    common = [one for one in first if len(said) > 1 and all(one in own for own in said.values())]
    own = {trial: "; ".join(one for one in changes if one not in common) for trial, changes in said.items()}
    return own, "; ".join(common)


def _with_intervals(now: Results, study: Study, trials: Sequence[str]) -> tuple[str, dict[tuple[str, str], Measured]]:
    """A metric that tells how sure it is, and its values by part and trial."""
    scores = Scores(now)
    metrics = now.ask("metrics")
    rows = metrics[
        metrics["class"].isna() & metrics["trial"].isin(trials) & metrics["part"].isin(["validation", "test"])
    ]
    with_ends = set(rows.loc[rows["low"].notna(), "metric"])
    compared = study.compared[0] if study.compared else "accuracy"
    found = [name for name in (scores.monitored, compared, "accuracy", *sorted(with_ends)) if name in with_ends]
    if not found:
        return "", {}
    rows = rows[rows["metric"] == found[0]]
    finer = rows[rows["level"] != "recording"]
    rows = finer if len(finer) else rows
    return found[0], {
        (str(row.part), str(row.trial)): Measured(float(row.value), _number(row.low), _number(row.high))
        for row in rows.itertuples()
        if row.value == row.value
    }


def _curves(now: Results, selection: str, trials: Sequence[str]) -> dict[str, tuple[float, ...]]:
    curves = now.ask("curves")
    name = selection.removeprefix("validation_")
    rows = curves[(curves["part"] == "validation") & curves["trial"].isin(trials)]
    own = rows[rows["metric"] == name]
    rows = own if len(own) else rows[rows["metric"] == "loss"]
    rows = rows[rows["value"].notna()].sort_values("epoch")
    return {str(trial): tuple(float(value) for value in one["value"]) for trial, one in rows.groupby("trial")}


def _verdicts(now: Results, leader: str) -> dict[str, str]:
    said = now.comparisons
    return dict(said.loc[said["against"] == leader, ["trial", "verdict"]].itertuples(index=False, name=None))


def _sentence(board: pd.DataFrame, selection: str, new: Collection[str], verdicts: dict[str, str]) -> str:
    """Who leads, and whether this night has changed that."""
    leader = board.iloc[0]
    reached = f"{in_units(selection, leader['selection_value'])} {spoken(selection)}"
    older = board[~board["trial"].isin(list(new))]
    fresh = len(board) - len(older)
    alike = _alike(board, verdicts)
    if not fresh:
        return f"No new result; {leader['trial']} leads with {reached}{alike}."
    if not len(older):
        return f"First results: {leader['trial']} leads with {reached}, of {counted(len(board), 'trial')}{alike}."
    before = older.iloc[0]
    if leader["trial"] not in new:
        return f"{leader['trial']} still leads with {reached}, after {counted(fresh, 'new result')}{alike}."
    was = f"before: {before['trial']}, {in_units(selection, before['selection_value'])}"
    told = verdicts.get(before["trial"], "").partition(":")[0]
    sure = {"worse than the leader": "certain", ALIKE: "the two cannot be told apart"}.get(told, told)
    return f"New leader: {leader['trial']} with {reached} ({'; '.join(part for part in (was, sure) if part)}){alike}."


def _alike(board: pd.DataFrame, verdicts: dict[str, str]) -> str:
    """Said where the leader leads by nothing that is certain: nobody is worse for sure; "" else."""
    others = list(board["trial"].iloc[1:])
    if not others or not all(verdicts.get(trial, "").startswith(AS_GOOD) for trial in others):
        return ""
    if len(others) == 1:
        return "; the other cannot be told apart from it"
    return f"; none of the {len(others)} others can be told apart from it"


def _certainty(board: pd.DataFrame, verdicts: dict[str, str]) -> str:
    if len(board) < 2:
        return ""
    words = Counter(verdicts.get(trial, "not compared yet").partition(":")[0] for trial in board["trial"].iloc[1:])
    said = ", ".join(f"{number} {word}" for word, number in words.most_common())
    return f"Of the {len(board) - 1} others, recording by recording on validation: {said}."


def _epochs(row: Any) -> str:
    best = row["best_epoch"]
    return f"{row['epochs']:.0f}" + (f", best {best:.0f}" if best == best else "")


def _number(value: float) -> float | None:
    return float(value) if value == value else None


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
