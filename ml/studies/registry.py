"""Every study there is: a literal tuple. A further study is one more name in it."""

from __future__ import annotations

from ml.studies.concert.study import CONCERT
from ml.studies.denoise.study import DENOISE
from ml.studies.drums.study import DRUMS
from ml.studies.emotion.study import EMOTION
from ml.studies.study import Study

ALL_STUDIES: tuple[Study, ...] = (CONCERT, EMOTION, DENOISE, DRUMS)


def study_named(name: str) -> Study:
    """The study of that name, or a `KeyError` that lists the names there are."""
    for study in ALL_STUDIES:
        if study.name == name:
            return study
    raise KeyError(f"no study named {name!r}; there are: {', '.join(study.name for study in ALL_STUDIES)}")
