"""What `scorer verify`, `explain` and `compare` work with, over topics in memory."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from scorer.cli.settings import Settings
from scorer.cli.verify_wiring import Scene
from scorer.core.deployments import Entry
from scorer.core.lineage import Lineage
from tests.unit.services.verify_world import GROUP, TOPIC_ID, Scored


def scene(it: Scored, settings: Settings, entries: Callable[[], list[Entry]] = list) -> Scene:
    """What they work with; once they are asked again, the deployments hold these entries.

    Its `groups`, `admin`, `extents`, `appended` and `bundles` are one plain object.
    """
    plain: Any = SimpleNamespace(
        topic=lambda _: (None, {}),
        topics=lambda: it.world.logs,
        committed=lambda *_: {},
        recipe=it.bundles,
        extents=it.world.extents,
        ends=lambda *_: {},
        since=lambda *_: {},
    )
    stream, lineage = settings.streams[0], Lineage(GROUP, TOPIC_ID)
    asked = plain, plain, plain, plain
    return Scene(settings, stream, it.world.topics(), *asked, it.decoder(), None, lineage, plain, entries)
