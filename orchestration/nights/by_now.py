"""What the settings say by now of runs that a night has asked for before: a person may edit them in mid-night."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from ml.config import ConfigError
from ml.studies.night import NightConfig
from ml.studies.study import Study
from orchestration.nights import marks
from orchestration.nights.bell import Bell
from orchestration.nights.runs import NightRun
from orchestration.nights.window import Night, last_night, next_night, night_at
from orchestration.resources import Bench


@dataclass(frozen=True)
class ByNow:
    """The nights of these studies as their settings are at this moment."""

    bench: Bench
    studies: Sequence[Study]

    def bell_of(self, tags: Mapping[str, str]) -> Bell | None:
        """When the run with these tags has to end: as its night was when it was asked for, or earlier where the
        settings say so by now. A night that they know no more, because it was turned off, was over when it began."""
        bell, asked = marks.bell_of(tags), self._asked(tags)
        if bell is None or asked is None:
            return bell
        _, config, night = asked
        same = _the_same(config, night)
        return replace(bell, rings=min(bell.rings, same.ends if same else night.begins))

    def outdated(self, run: NightRun) -> str:
        """Why nobody asks for this run by now, or not for the hours that it was asked for; "" where it stands."""
        asked = self._asked(run.run.tags)
        if asked is None or run.part != marks.TRIALS:
            return ""
        study, config, night = asked
        same = _the_same(config, night)
        if same is not None and same.ends != night.ends:
            return f"its night ends at {same.shown(same.ends)} by now"
        if config.mode is None:
            return ""
        modes = {trial.name: trial.mode or trial.name for trial in self.bench.trials(study).trials}
        if all(modes.get(name) == config.mode for name in run.names(list(modes))):
            return ""
        return f"by now the nights of {study.name} are for `mode: {config.mode}` alone"

    def _asked(self, tags: Mapping[str, str]) -> tuple[Study, NightConfig, Night] | None:
        """The study and the night that a run was asked for, and what is said of its nights; None where nobody knows."""
        night = marks.night_of(tags)
        study = next((one for one in self.studies if night and one.name == night.study), None)
        if night is None or study is None:
            return None
        try:
            return study, self.bench.settings(study).night, night
        except ConfigError:  # said where the night is driven; what was asked for is let be meanwhile
            return None


def _the_same(config: NightConfig, night: Night) -> Night | None:
    """That night with the hours of now."""
    around = (find(config, night.begins, night.study) for find in (night_at, next_night, last_night))
    return next((one for one in around if one and one.name == night.name), None)
