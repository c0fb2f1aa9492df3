"""The trials of a study by what they promise, as JSON: `python -m orchestration.ranking LAB STUDY`. See `ordering`."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from ml.studies.registry import ALL_STUDIES
from orchestration.ordering import promising
from orchestration.resources import Bench
from storage.lab import Lab


def main(lab: str, name: str) -> None:
    """Prints the names, the most promising first."""
    study = next(one for one in ALL_STUDIES if one.name == name)
    print(json.dumps(promising(Bench(Lab.open(Path(lab))), study)[0]))


if __name__ == "__main__":
    main(*sys.argv[1:])
