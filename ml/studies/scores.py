"""What finished trials reach, side by side: by part, over all classes and class by class."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ml.studies.standing import comparable

if TYPE_CHECKING:
    import pandas as pd

    from ml.studies.results import Results

PARTS = ("train", "validation", "test")
COUNTED = ("support",)
"""Metrics that only count."""


class Scores:
    """The metrics of the trials that may be compared, best on validation first."""

    def __init__(self, results: Results) -> None:
        self.results = results
        self.board = comparable(results.leaderboard).sort_values("rank").set_index("trial")
        metrics = results.ask("metrics")
        self._metrics = metrics[metrics["trial"].isin(self.board.index)]
        first = self.board.iloc[0]
        self.selection = str(first["selection_metric"])
        """The validation metric that trials are chosen by."""
        self.monitored = self.selection.removeprefix("validation_")
        self._higher = str(first["higher_is_better"]) != "False"  # where nothing is recorded, higher is

    def parts(self) -> list[str]:
        """The parts that anything was measured on, in order."""
        there = set(self._metrics["part"])
        return [part for part in PARTS if part in there]

    def overall(self, part: str, level: str = "window") -> pd.DataFrame:
        """Trials by metrics over all classes; `level` recording is per file, anything else the finer unit.

        What was measured of whole files only stands beside the finer unit too.
        """
        import pandas as pd

        rows = self._rows(part, level)
        rows = rows[rows["class"].isna()]
        if level != "recording":  # what there is of whole files alone belongs beside it
            of_files = self._rows(part, "recording")
            alone = of_files["class"].isna() & ~of_files["metric"].isin(set(rows["metric"]))
            rows = pd.concat([rows, of_files[alone]])
        return self._side_by_side(rows, "metric")

    def of_classes(self, part: str, metric: str) -> pd.DataFrame:
        """Trials by classes: one metric of each class."""
        rows = self._rows(part, "window")
        return self._side_by_side(rows[rows["class"].notna() & (rows["metric"] == metric)], "class")

    def class_metrics(self, part: str) -> list[str]:
        """The metrics that classes have one by one."""
        rows = self._rows(part, "window")
        return sorted(set(rows.loc[rows["class"].notna(), "metric"]).difference(COUNTED))

    def higher_is_better(self, metric: str) -> bool:
        """Of what is chosen by it is recorded; of the rest the name says it."""
        if metric in (self.selection, self.monitored):
            return self._higher
        return not any(word in metric for word in ("loss", "error"))

    def baseline(self) -> str | None:
        """The best trial that changes nothing."""
        plain = self.board.index[self.board["changes"].isna()]
        return str(plain[0]) if len(plain) else None

    def compared_by(self, part: str) -> tuple[str, pd.Series]:
        """The metric that differences are told in, and its values: what trials are chosen by, on `part` where it is."""
        overall = self.overall(part)
        if self.monitored in overall:
            return self.monitored, overall[self.monitored]
        return self.selection, self.board["selection_value"].astype(float)

    def spreadsheet(self) -> pd.DataFrame:
        """One row per trial: who it is, all settings, all metrics of all parts, what it took."""
        import pandas as pd

        board, against = self.board, self.results.comparisons
        verdicts = against[against["against"] == board.index[0]].set_index("trial")["verdict"]
        base = self.baseline() or str(board.index[0])
        of_trial = ["rank", "is_best", "purpose", "changes", "remarks"]
        columns: dict[str, Any] = {name: board[name] for name in of_trial}
        columns["against_the_leader"] = verdicts.reindex(board.index)
        columns |= {name: board[name] for name in ("selection_metric", "selection_value")}
        columns[f"selection_value_minus_{base}"] = board["selection_value"] - board.loc[base, "selection_value"]
        settings = pd.DataFrame([flat(config) for config in board["config"]], index=board.index)
        columns |= {name: settings[name] for name in settings if name not in ("name", "purpose")}
        for part in self.parts():
            finer = set(self._rows(part, "window")["metric"])
            columns |= {f"{part}_{name}": values for name, values in self.overall(part).items()}
            for name, values in self.overall(part, "recording").items():
                if name in finer:
                    columns[f"{part}_recording_{name}"] = values
            for metric in self.class_metrics(part):
                for name, values in self.of_classes(part, metric).items():
                    columns[f"{part}_{metric}_{name}"] = values
        took = {"seconds_standalone": "seconds_if_run_alone", "epochs": "epochs_done", "best_epoch": "best_epoch"}
        columns |= {word: board[name] for name, word in took.items()}
        columns |= {name: board[name] for name in ("minutes", "attempts", "ended", "model_name")}
        return pd.DataFrame(columns, index=board.index).rename_axis("trial").reset_index()

    def _rows(self, part: str, level: str) -> pd.DataFrame:
        """The rows of one part: per recording, or of the finer unit (of recordings where there is no finer one)."""
        rows = self._metrics[self._metrics["part"] == part]
        recordings = rows["level"] == "recording"
        if level == "recording":
            return rows[recordings & (~recordings).any()]
        return rows[~recordings] if (~recordings).any() else rows

    def _side_by_side(self, rows: pd.DataFrame, across: str) -> pd.DataFrame:
        order = list(dict.fromkeys(rows[across]))
        table = rows.pivot_table(index="trial", columns=across, values="value", aggfunc="first", dropna=False)
        return table.reindex(index=self.board.index, columns=order).astype(float)


def flat(config: dict[str, Any], place: str = "") -> dict[str, Any]:
    """Settings by their dotted names."""
    found: dict[str, Any] = {}
    for key, value in config.items():
        name = f"{place}.{key}" if place else key
        found |= flat(value, name) if isinstance(value, dict) else {name: value}
    return found
