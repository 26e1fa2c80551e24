"""Settings that are right each for itself, and do not fit together."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from pydantic_core import PydanticCustomError

if TYPE_CHECKING:
    from scorer.cli.settings import Settings

PORT_MAX = 65_535


def conflict(key: str, text: str) -> PydanticCustomError:
    """What a model's own check raises about one of its settings; checking.py adds where that was set."""
    return PydanticCustomError("conflict", "{text}", {"text": text, "key": key})


def refuse_conflicts(settings: Settings) -> None:
    """Holds the streams against each other, and against the ports.

    Raises:
        PydanticCustomError: two settings do not fit together.
    """
    _refuse_mixed_topics(settings)
    streams = len(settings.streams)
    if settings.metrics.port > 0 and settings.metrics.port + streams - 1 > PORT_MAX:
        raise conflict("metrics.port", f"leaves no port for each of the {streams} streams")


def _refuse_mixed_topics(settings: Settings) -> None:
    for name, count in Counter(stream.name for stream in settings.streams).items():
        if count > 1:
            raise conflict(f"streams.{name}.name", "names more than one stream")
    inputs = {stream.from_topic: stream.name for stream in settings.streams}
    outputs = {stream.to_topic: stream.name for stream in settings.streams}
    for stream in settings.streams:
        letters = stream.dead_letters
        if letters in inputs:
            text = f'= "{letters}" is what stream {inputs[letters]} reads: its rejections would go round for ever'
            raise conflict(f"streams.{stream.name}.dead_letters", text)
        if letters in outputs:
            text = f'= "{letters}" is where stream {outputs[letters]} publishes predictions: give it another topic'
            raise conflict(f"streams.{stream.name}.dead_letters", text)
        if stream.to_topic == stream.from_topic:
            text = f'= "{stream.to_topic}" is what the stream reads: its predictions would go round for ever'
            raise conflict(f"streams.{stream.name}.to", text)
