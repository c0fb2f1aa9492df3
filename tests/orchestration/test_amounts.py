"""How much there is of each class, where a row stands for a hit in a file."""

from __future__ import annotations

from orchestration.amounts import class_amounts
from tests.storage.songs import hits_table


def test_hits_are_counted_and_their_files_are_not_added_up():
    found = class_amounts(hits_table())
    assert found.unit == "files" and found.smallest == "crash" and found.ratio == 3
    assert found.classes["files"].to_dict() == {"crash": 5, "hihat_closed": 15, "kick": 11}
    assert not found.with_minutes, "a few one-shots beside them have some, which would say nothing of the whole"
