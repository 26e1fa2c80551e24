"""Streams of a real gateway: a thousand clients, dropped ones, slow ones, and a gateway that is killed meanwhile."""

from __future__ import annotations

import asyncio
import random
import re
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from threading import Thread

import pytest

from tests.harness.events import announce
from tests.harness.gateways import Site, SseClient, gateway, gateway_site, lead_score, recommendation

CLIENTS, EVERYBODY, DROPPED = 1_000, 40, 200
ENTITIES = CLIENTS - EVERYBODY
ROUNDS = 6
MEMORY_MB_MAX = 400
WAIT_S_MAX = 90.0


@pytest.fixture
def site(kafka: str, registry: str, tmp_path: Path) -> Iterator[Site]:
    with gateway_site(kafka, registry, tmp_path, beat_ms=500, streams_max=1_100) as made:
        yield made


@pytest.mark.timeout(240)
def test_a_thousand_clients_of_which_some_are_dropped_and_whose_gateway_is_killed_miss_and_repeat_nothing(
    site: Site, request: pytest.FixtureRequest
) -> None:
    clients = [SseClient(site.port, "/v1/recommendations/stream") for _ in range(EVERYBODY)]
    clients += [SseClient(site.port, f"/v1/recommendations/c{number}/stream") for number in range(ENTITIES)]
    sent: list[tuple[str, str]] = []
    chance = random.Random(4)

    def publish_round() -> None:
        records = [recommendation(f"c{number}", len(sent) + number) for number in range(ENTITIES)]
        sent.extend((record["customer_id"], record["event_id"]) for record in records)
        site.publish("recommendations", records)

    async def scenario(stack: ExitStack) -> None:
        started = stack.enter_context(gateway(site))
        running = [asyncio.create_task(client.run()) for client in clients]
        await _until(lambda: all(client.connects for client in clients), "connected")
        for number in range(ROUNDS):
            publishing = asyncio.create_task(asyncio.to_thread(publish_round))
            if number in (1, 2):
                await asyncio.sleep(0.3)
                for client in chance.sample(clients, DROPPED // 2):
                    client.drop()
            if number == 4:
                await asyncio.sleep(0.2)
                started.process.signal(signal.SIGKILL)
                started.process.wait()
                started = await asyncio.to_thread(stack.enter_context, gateway(site, name="again"))
            await publishing
        expected = len(sent)
        await _until(lambda: all(len(c.seen) >= expected for c in clients[:EVERYBODY]), "told everything")
        await _until(lambda: all(len(c.seen) >= ROUNDS for c in clients[EVERYBODY:]), "told their own")
        memory_mb = _memory_mb(started.process.pid)
        announce(request, f"{len(sent)} predictions to {CLIENTS} clients; the gateway's peak memory {memory_mb:.0f} MB")
        assert memory_mb < MEMORY_MB_MAX
        for client in clients:
            client.end()
        await asyncio.gather(*running)

    with ExitStack() as stack:
        asyncio.run(asyncio.wait_for(scenario(stack), 220))
    wanted = sorted(event for _, event in sent)
    for client in clients[:EVERYBODY]:
        assert sorted(client.seen) == wanted
    for number, client in enumerate(clients[EVERYBODY:]):
        assert client.seen == [event for entity, event in sent if entity == f"c{number}"]
    assert not any(client.gaps for client in clients)
    assert sum(client.connects for client in clients) >= CLIENTS + DROPPED + CLIENTS // 2


def test_a_client_that_does_not_read_is_cut_off_and_costs_nobody_else_anything(site: Site) -> None:
    with gateway(site, "--set", "gateway.stream_rows_max=50") as started:
        slow = socket.socket()
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        slow.connect(("127.0.0.1", site.port))
        slow.sendall(b"GET /v1/lead-scores/stream HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        good = SseClient(site.port, "/v1/lead-scores/stream")

        async def scenario() -> None:
            running = asyncio.create_task(good.run())
            await _until(lambda: good.connects == 1, "connected")
            for begin in range(0, 20_000, 1_000):
                records = [lead_score(f"l{number}", number) for number in range(begin, begin + 1_000)]
                await asyncio.to_thread(site.publish, "lead-scores", records)
            await _until(lambda: len(good.seen) >= 20_000, "told everything")
            good.end()
            await running

        asyncio.run(asyncio.wait_for(scenario(), 100))
        assert len(set(good.seen)) == len(good.seen) == 20_000
        started.process.until(
            lambda: started.process.metric("scorer_gateway_streams_cut_total") >= 1, "rid of the slow one", 20
        )
        slow.close()
        started.process.until(lambda: started.process.metric("scorer_gateway_streams") == 0, "rid of both", 20)


def test_a_position_that_is_gone_is_a_gap_and_what_is_left_follows(site: Site) -> None:
    client = SseClient(site.port, "/v1/lead-scores/stream")
    with gateway(site, "--set", "gateway.log_rows_max=100") as started:
        _listen(client, lambda: client.connects == 1 and bool(client.last_id))
        first = client.last_id
        site.publish("lead-scores", [lead_score(f"l{number}", number) for number in range(8_000)])
        started.wait_for("/v1/lead-scores/l7999")
        site.publish("lead-scores", [lead_score("one-more", 9_000)])
        started.wait_for("/v1/lead-scores/one-more")
        started.process.until(
            lambda: started.process.metric("scorer_gateway_records_written_total") >= 8_001, "done with writing"
        )
        started.process.signal(signal.SIGKILL)
        started.process.wait()
    with gateway(site, "--set", "gateway.log_rows_max=100"):
        reasons = {
            first: "the log does not",
            "nonsense.x": "the Last-Event-ID",
            "00000000.0-5": "the topic was made anew",
        }
        for last_id, reason in reasons.items():
            late = SseClient(site.port, "/v1/lead-scores/stream", last_id=last_id)
            _listen(late, partial(bool, late.gaps))
            assert late.gaps[0].startswith(reason)
            assert late.last_id != last_id


def test_streams_beyond_the_limit_are_refused_and_a_stream_ends_when_it_is_too_old(site: Site) -> None:
    with gateway(site, "--set", "gateway.streams_max=1", "--set", "gateway.stream_ms_max=1500") as started:
        client = SseClient(site.port, "/v1/lead-scores/x/stream")

        async def scenario() -> None:
            running = asyncio.create_task(client.run())
            await _until(lambda: client.connects == 1, "connected")
            refused = await asyncio.to_thread(started.get, "/v1/lead-scores/stream")
            assert (refused.status_code, refused.headers["retry-after"]) == (503, "5")
            await _until(lambda: client.connects >= 2, "back after the stream had ended")
            client.end()
            await running

        asyncio.run(scenario())


def test_an_erasure_is_told_to_who_listens(site: Site) -> None:
    with gateway(site):
        client = SseClient(site.port, "/v1/lead-scores/gone/stream")
        Thread(target=lambda: (time.sleep(1), site.erase("lead-scores", "gone")), daemon=True).start()
        _listen(client, lambda: bool(client.erased))
        assert client.erased == [{"lead_id": "gone"}]


def _listen(client: SseClient, enough: Callable[[], bool]) -> None:
    async def scenario() -> None:
        running = asyncio.create_task(client.run())
        await _until(enough, "told enough", 30)
        client.end()
        await running

    asyncio.run(scenario())


async def _until(holds: Callable[[], bool], what: str, wait_s_max: float = WAIT_S_MAX) -> None:
    deadline_s = time.monotonic() + wait_s_max
    while not holds():
        assert time.monotonic() < deadline_s, f"not {what} within {wait_s_max:.0f} s"
        await asyncio.sleep(0.05)


def _memory_mb(pid: int) -> float:
    """The most memory that a process has held."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace")
    found = re.search(r"^VmHWM:\s+(\d+) kB", status, re.MULTILINE)
    assert found is not None
    return int(found[1]) / 1024
