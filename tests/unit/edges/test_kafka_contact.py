"""An outage of Kafka is found whether or not the client tells of it."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from confluent_kafka import KafkaError, KafkaException

from scorer.edges.kafka import contact
from scorer.edges.kafka.contact import ASK_EVERY_S, SILENCE_S, Contact

DOWN = KafkaError(KafkaError._ALL_BROKERS_DOWN)
REFUSED = KafkaError(KafkaError._AUTHENTICATION, "wrong password")
GONE = "no broker of Kafka can be reached"


@dataclass
class Brokers:
    """Brokers that answer or do not, and the time."""

    up: bool = True
    asked: int = 0
    now_s: float = 100.0

    def monotonic(self) -> float:
        return self.now_s

    def ask(self) -> None:
        self.asked += 1
        if not self.up:
            raise KafkaException(KafkaError(KafkaError._TRANSPORT))


@pytest.fixture
def brokers(monkeypatch: pytest.MonkeyPatch) -> Brokers:
    found = Brokers()
    monkeypatch.setattr(contact, "time", found)
    return found


def test_silence_alone_makes_it_ask_and_no_answer_is_an_outage(brokers: Brokers) -> None:
    asks = Contact(brokers.ask)
    brokers.up = False
    brokers.now_s += SILENCE_S * 0.9
    assert (asks.outage(), brokers.asked) == (None, 0)
    brokers.now_s += SILENCE_S * 0.2
    assert (asks.outage(), brokers.asked) == (GONE, 1)


def test_who_hears_something_asks_nothing(brokers: Brokers) -> None:
    asks = Contact(brokers.ask)
    for _ in range(100):
        brokers.now_s += SILENCE_S * 0.9
        asks.heard()
        assert asks.outage() is None
    assert brokers.asked == 0


def test_an_error_is_looked_into_at_once_but_a_flood_of_them_only_now_and_again(brokers: Brokers) -> None:
    asks = Contact(brokers.ask)
    brokers.now_s += ASK_EVERY_S
    for _ in range(100):
        asks.failed(DOWN)
        assert asks.outage() is None, "one broker of several is gone, the others answer"
        brokers.now_s += ASK_EVERY_S / 10
    assert brokers.asked == 10


def test_an_outage_ends_with_an_answer_and_not_with_what_was_fetched_before(brokers: Brokers) -> None:
    asks = Contact(brokers.ask)
    brokers.up = False
    brokers.now_s += SILENCE_S
    assert asks.outage() == GONE
    asks.heard()
    brokers.now_s += ASK_EVERY_S
    assert (asks.outage(), brokers.asked) == (GONE, 2)
    brokers.up = True
    assert asks.outage() == GONE, "not asked again yet"
    brokers.now_s += ASK_EVERY_S
    assert asks.outage() is None


def test_refused_credentials_are_said_until_a_broker_answers(brokers: Brokers) -> None:
    asks = Contact(brokers.ask)
    brokers.up = False
    asks.failed(REFUSED)
    assert "Kafka refuses the credentials" in str(asks.outage())
    brokers.now_s += ASK_EVERY_S
    assert "Kafka refuses the credentials" in str(asks.outage())
    brokers.up = True
    brokers.now_s += ASK_EVERY_S
    assert asks.outage() is None
