"""From settings to a running gateway: who may reach it, store, follower and site, until a signal comes."""

from __future__ import annotations

import ipaddress
import re
from asyncio import AbstractEventLoop
from functools import partial
from socket import socket
from threading import Event, Thread

from scorer.cli.exits import ExitCode
from scorer.cli.gateway_explain import explainer
from scorer.cli.settings import Gateway, Settings
from scorer.cli.status import status_server, told_status
from scorer.cli.stopping import stopped_by_signals
from scorer.cli.wiring import open_registry
from scorer.core.answers import Kind, kinds_of
from scorer.core.errors import ConfigError
from scorer.core.ports import Report
from scorer.core.state import State, Status
from scorer.edges.bundles import read_bundle
from scorer.edges.clock import SystemClock
from scorer.edges.home import expanded
from scorer.edges.kafka.admin import KafkaAdmin
from scorer.edges.kafka.messages import sparingly
from scorer.edges.kafka.reader import KafkaReader
from scorer.edges.latest_store import Keep, LatestStore
from scorer.edges.machine import keep_out_of_collections, scorer_version
from scorer.edges.metrics import Counted, GatewayMetrics
from scorer.edges.web.app import Served, make_app
from scorer.edges.web.explained import EXPLAIN, Explain
from scorer.edges.web.guard import Guard
from scorer.edges.web.limits import Buckets
from scorer.edges.web.live import Bounds, LiveKind
from scorer.edges.web.popular import Popular
from scorer.edges.web.room import room_for
from scorer.edges.web.serve import AskStore, OnLoop, Site, listening, serve
from scorer.edges.web.streams import StreamLimits, Streams
from scorer.edges.web.tokens import ALL, Authority
from scorer.services.gateway import Follower
from scorer.services.gateway_writing import Writing
from scorer.services.schemas import Schemas

LOOPBACK = frozenset({"localhost", "127.0.0.1", "[::1]"})
SPARE_CONNECTIONS = 1_000
"""Connections besides those that streams have."""


def run_gateway(settings: Settings, report: Report) -> int:
    """Serves until a signal comes. Returns the exit code.

    Raises:
        ConfigError: it must not start like this.
    """
    chosen, stop, clock, metrics = settings.gateway, stopped_by_signals(), SystemClock(), GatewayMetrics()
    kinds, hosts = served_kinds(settings), _hosts(chosen)
    authority = _authority(chosen, kinds, report)
    store_path = expanded(chosen.store)
    store = LatestStore(store_path, Keep(chosen.log_rows_max, chosen.log_ms_max))
    status = told_status(metrics, clock, report)
    ask = AskStore(store_path, report)
    lives = _lives(kinds, ask, chosen)
    for name, live in lives.items():
        if epoch := store.epoch(name):  # so that streams go on before Kafka answers
            live.begin(epoch, store.resume(name, {}), anew=False)
    listener = listening(chosen.host, chosen.port)
    explain = explainer(settings, report)
    site = _site(chosen, lives, hosts, authority, metrics, report, listener, explain)
    exposition = partial(metrics.exposition, partial(_counted, lives, site.streams))
    wanted = settings.metrics  # its port is the one behind those of the streams
    server = status_server(wanted.host, wanted.port, len(settings.streams), status, exposition, clock)
    threads: list[Thread] = []
    followers: list[Follower] = []

    def begin(loop: AbstractEventLoop) -> None:
        follower = _follower(settings, kinds, store, OnLoop(loop, lives), metrics, report, status, stop)
        followers.append(follower)
        for name, target in (("writer", follower.write), ("follower", follower.run)):
            threads.append(Thread(target=target, name=name, daemon=True))
            threads[-1].start()
        where = {"host": chosen.host, "port": listener.getsockname()[1]}
        report("gateway.serving", {**where, "open": not chosen.tokens, "connections": site.connections_max})
        keep_out_of_collections()  # no collection need walk what is there now while somebody waits

    try:
        serve(site, stop, begin)
    finally:
        status.enter(State.STOPPING, "")
        stop.set()
        for thread in threads:
            thread.join(settings.shutdown.grace_ms_max / 1000)
        ask.close()
        if not any(thread.is_alive() for thread in threads):
            store.close()
        if server is not None:
            server.close()
    for follower in followers:
        if follower.failure is not None:
            raise follower.failure
    return int(ExitCode.OK)


def served_kinds(settings: Settings) -> tuple[Kind, ...]:
    """What the streams publish."""
    if not settings.streams:
        raise ConfigError("no stream is configured: add [[streams]] to scorer.toml, or give --config PATH")
    found = []
    for stream in settings.streams:
        contract = read_bundle(stream.bundle).contract
        found.append((stream.to_topic, contract.entity))
    return kinds_of(found)


def scopes_of(kinds: tuple[Kind, ...]) -> frozenset[str]:
    """Every scope that a token may have."""
    return frozenset({kind.name for kind in kinds} | {kind.name + ALL for kind in kinds} | {EXPLAIN})


def _hosts(chosen: Gateway) -> frozenset[str]:
    """The Host headers to serve, and whether this address may be served at all."""
    own = frozenset(_as_header(each.strip()) for each in chosen.hosts.split(",") if each.strip())
    if _is_loopback(chosen.host):
        return own | LOOPBACK
    if chosen.tokens is None:
        raise ConfigError(
            f"gateway.host {chosen.host} can be reached from elsewhere, so tokens are needed: set gateway.tokens and "
            "make one with: scorer gateway token NAME --scope SCOPE; or listen on 127.0.0.1"
        )
    try:
        wildcard = ipaddress.ip_address(chosen.host).is_unspecified
    except ValueError:
        wildcard = False
    if wildcard and not own:
        raise ConfigError(
            f'gateway.host {chosen.host}: set gateway.hosts to the names it is called by, as in "a.com,b"'
        )
    return own if wildcard else own | {_as_header(chosen.host)}


def _origins(chosen: Gateway) -> frozenset[str]:
    """The origins that may read, as browsers write them; one that no browser would ever send is refused."""
    found = frozenset(each.strip().lower() for each in chosen.origins.split(",") if each.strip())
    for each in sorted(found):
        if each != "null" and not re.fullmatch(r"[a-z][a-z0-9+.-]*://[^/*?#@\s]+", each):
            raise ConfigError(
                f"gateway.origins {each} is no origin: scheme, name and perhaps a port, nothing behind them and no *, "
                "as in https://shop.example"
            )
    return found


def _as_header(host: str) -> str:
    """A name or an address as the Host header has it: in small letters, IPv6 in brackets."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host.lower()
    return f"[{address}]" if address.version == 6 else str(address)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _lives(kinds: tuple[Kind, ...], ask: AskStore, chosen: Gateway) -> dict[str, LiveKind]:
    share = len(kinds)
    bounds = Bounds(cache_rows_max=chosen.cache_rows_max // share, cache_bytes_max=chosen.cache_bytes_max // share)
    return {kind.name: LiveKind(kind, ask, bounds) for kind in kinds}


def _authority(chosen: Gateway, kinds: tuple[Kind, ...], report: Report) -> Authority:
    return Authority(chosen.tokens.expanduser() if chosen.tokens else None, scopes_of(kinds), report)


def _site(
    chosen: Gateway,
    lives: dict[str, LiveKind],
    hosts: frozenset[str],
    authority: Authority,
    metrics: GatewayMetrics,
    report: Report,
    listener: socket,
    explain: Explain,
) -> Site:
    limits = StreamLimits(
        chosen.streams_max, chosen.stream_rows_max, chosen.beat_ms / 1000, chosen.stream_ms_max / 1000
    )
    streams = Streams(limits)
    popular = {name: Popular(live) for name, live in lives.items()}
    inner = make_app(Served(lives, popular, streams, authority, chosen.wait_ms_max, scorer_version(), explain))
    guard = Guard(inner, authority, Buckets(chosen.rate_per_s), hosts, _origins(chosen), metrics, report)
    return Site(guard, listener, room_for(chosen.streams_max + SPARE_CONNECTIONS), streams, authority, report)


def _follower(
    settings: Settings,
    kinds: tuple[Kind, ...],
    store: LatestStore,
    listener: OnLoop,
    metrics: GatewayMetrics,
    report: Report,
    status: Status,
    stop: Event,
) -> Follower:
    topics, clock = [kind.topic for kind in kinds], SystemClock()
    # 100 ms as librdkafka waits where no ends are asked for: they are needed once, so they need not be had sooner.
    consumer = {"fetch.wait.max.ms": 100, **settings.kafka_for("consumer")}
    consumer |= {"error_cb": sparingly(report, "kafka.consumer_error")}
    admin = KafkaAdmin(settings.kafka_for("admin"), report)
    return Follower(
        kinds=kinds,
        look=lambda: admin.incarnations(topics),
        open_reader=lambda at: KafkaReader(
            consumer, topics, start="earliest", report=report, positions=at, to_end=True
        ),
        kept=store,
        writing=Writing(store, listener, metrics, clock, report, stop),
        schemas=Schemas(open_registry(settings, report), report, grace_ms_max=settings.registry.grace_ms_max),
        listener=listener,
        observer=metrics,
        clock=clock,
        report=report,
        status=status,
        stop=stop,
    )


def _counted(lives: dict[str, LiveKind], streams: Streams) -> Counted:
    hits, misses = (sum(getattr(live, name) for live in lives.values()) for name in ("hits", "misses"))
    return Counted(len(streams), streams.cut, streams.gaps, hits, misses)
