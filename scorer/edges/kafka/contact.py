"""Whether brokers answer one client, for people who ask why nothing comes.

librdkafka tells neither reliably when the last broker is gone (a consumer may stay silent for half a minute, while its
commits fail and its partitions are lost) nor when one is back. So a broker is asked: after a silence, after an error,
and again and again while there is no answer.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from confluent_kafka import KafkaError, KafkaException

from scorer.edges.kafka.failures import is_shut, shut

SILENCE_S = 3.0
ASK_EVERY_S = 1.0


class Contact:
    """Driven by the thread that polls the client; callbacks of the client only take notes here.

    Args:
        ask: asks any broker something small; KafkaException if none answers.
    """

    def __init__(self, ask: Callable[[], object]) -> None:
        self._ask, self._outage = ask, ""
        self._asked_s = time.monotonic()
        self._due_s = self._asked_s + SILENCE_S

    def heard(self) -> None:
        """Something came from a broker."""
        if not self._outage:
            self._due_s = time.monotonic() + SILENCE_S

    def failed(self, error: KafkaError) -> None:
        """The client has told of an error."""
        if is_shut(error):
            self._outage = shut(error.str())
        self._due_s = min(self._due_s, self._asked_s + ASK_EVERY_S)

    def outage(self) -> str | None:
        """Why nothing can come, or None. Takes as long as the question does, if it is time to ask."""
        if time.monotonic() >= self._due_s:
            try:
                self._ask()
                self._outage = ""
                pause_s = SILENCE_S
            except KafkaException:
                self._outage = self._outage or "no broker of Kafka can be reached"
                pause_s = ASK_EVERY_S
            self._asked_s = time.monotonic()
            self._due_s = self._asked_s + pause_s
        return self._outage or None
