"""What makes an asset follow by itself what it stands on."""

from __future__ import annotations

import dagster as dg


def follows() -> dg.AutomationCondition:
    """Something below is newer than what was made of it. Remembered until it is made: without the `since`, news that
    came while another trial was still being trained would be forgotten with that look."""
    news = dg.AutomationCondition.any_deps_updated().since_last_handled()
    return (news & ~dg.AutomationCondition.in_progress()).with_label("something below is newer")
