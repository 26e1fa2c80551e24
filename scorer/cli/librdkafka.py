"""librdkafka's property names, so that a wrong one is named before a client is made.

Guarantee: the names are those of the locked client library (librdkafka 2.16.0, its `rd_kafka_conf_properties_show`);
a test compares them with the installed one. Left out are properties that hold functions or pointers.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Client(StrEnum):
    """Which kind of client a property is for."""

    ANY = "any"
    CONSUMER = "consumer"
    PRODUCER = "producer"


@dataclass(frozen=True, slots=True)
class Property:
    """One property.

    Attributes:
        client: who understands it.
        text: free text; otherwise a number, a boolean or one of a few words, which cannot hold a secret.
    """

    client: Client
    text: bool


_COMMON_TEXT = """
    bootstrap.servers broker.version.fallback client.id client.rack https.ca.location https.ca.pem
    metadata.broker.list plugin.library.paths sasl.kerberos.keytab sasl.kerberos.kinit.cmd
    sasl.kerberos.principal sasl.kerberos.service.name sasl.mechanism sasl.mechanisms
    sasl.oauthbearer.assertion.claim.aud sasl.oauthbearer.assertion.claim.iss
    sasl.oauthbearer.assertion.claim.sub sasl.oauthbearer.assertion.file
    sasl.oauthbearer.assertion.jwt.template.file sasl.oauthbearer.assertion.private.key.file
    sasl.oauthbearer.assertion.private.key.passphrase sasl.oauthbearer.assertion.private.key.pem
    sasl.oauthbearer.client.credentials.client.id sasl.oauthbearer.client.credentials.client.secret
    sasl.oauthbearer.client.id sasl.oauthbearer.client.secret sasl.oauthbearer.config
    sasl.oauthbearer.extensions sasl.oauthbearer.scope sasl.oauthbearer.sub.claim.name
    sasl.oauthbearer.token.endpoint.url sasl.password sasl.username ssl.ca.certificate.stores ssl.ca.location
    ssl.ca.pem ssl.certificate.location ssl.certificate.pem ssl.cipher.suites ssl.crl.location ssl.curves.list
    ssl.engine.id ssl.engine.location ssl.key.location ssl.key.password ssl.key.pem ssl.keystore.location
    ssl.keystore.password ssl.providers ssl.sigalgs.list topic.blacklist
"""
_CONSUMER_TEXT = """
    group.id group.instance.id group.protocol.type group.remote.assignor offset.store.path
    partition.assignment.strategy share.acknowledgement.mode
"""
_PRODUCER_TEXT = """
    partitioner transactional.id
"""
_COMMON_TYPED = """
    allow.auto.create.topics api.version.fallback.ms api.version.request api.version.request.timeout.ms
    broker.address.family broker.address.ttl client.dns.lookup connections.max.idle.ms debug
    enable.metrics.push enable.random.seed enable.sasl.oauthbearer.unsecure.jwt
    enable.ssl.certificate.verification log.connection.close log.queue log.thread.name log_level max.in.flight
    max.in.flight.requests.per.connection message.copy.max.bytes message.max.bytes metadata.max.age.ms
    metadata.recovery.rebootstrap.trigger.ms metadata.recovery.strategy receive.message.max.bytes
    reconnect.backoff.jitter.ms reconnect.backoff.max.ms reconnect.backoff.ms retry.backoff.max.ms
    retry.backoff.ms sasl.kerberos.min.time.before.relogin sasl.oauthbearer.assertion.algorithm
    sasl.oauthbearer.assertion.claim.exp.seconds sasl.oauthbearer.assertion.claim.jti.include
    sasl.oauthbearer.assertion.claim.nbf.seconds sasl.oauthbearer.grant.type
    sasl.oauthbearer.metadata.authentication.type sasl.oauthbearer.method security.protocol
    socket.blocking.max.ms socket.connection.setup.timeout.ms socket.keepalive.enable socket.max.fails
    socket.nagle.disable socket.receive.buffer.bytes socket.send.buffer.bytes socket.timeout.ms
    ssl.endpoint.identification.algorithm statistics.interval.ms topic.metadata.propagation.max.ms
    topic.metadata.refresh.fast.cnt topic.metadata.refresh.fast.interval.ms topic.metadata.refresh.interval.ms
    topic.metadata.refresh.sparse
"""
_CONSUMER_TYPED = """
    auto.commit.enable auto.commit.interval.ms auto.offset.reset check.crcs consume.callback.max.messages
    coordinator.query.interval.ms enable.auto.commit enable.auto.offset.store enable.partition.eof
    fetch.error.backoff.ms fetch.max.bytes fetch.message.max.bytes fetch.min.bytes fetch.queue.backoff.ms
    fetch.wait.max.ms group.protocol heartbeat.interval.ms isolation.level max.partition.fetch.bytes
    max.poll.interval.ms max.poll.records offset.store.method offset.store.sync.interval.ms
    queued.max.messages.kbytes queued.min.messages session.timeout.ms
"""
_PRODUCER_TYPED = """
    acks batch.num.messages batch.size compression.codec compression.level compression.type
    delivery.report.only.error delivery.timeout.ms enable.gapless.guarantee enable.idempotence linger.ms
    message.send.max.retries message.timeout.ms produce.offset.report queue.buffering.backpressure.threshold
    queue.buffering.max.kbytes queue.buffering.max.messages queue.buffering.max.ms queuing.strategy
    request.required.acks request.timeout.ms retries sticky.partitioning.linger.ms transaction.timeout.ms
"""

PROPERTIES: dict[str, Property] = {
    name: Property(client, text)
    for names, client, text in (
        (_COMMON_TEXT, Client.ANY, True),
        (_CONSUMER_TEXT, Client.CONSUMER, True),
        (_PRODUCER_TEXT, Client.PRODUCER, True),
        (_COMMON_TYPED, Client.ANY, False),
        (_CONSUMER_TYPED, Client.CONSUMER, False),
        (_PRODUCER_TYPED, Client.PRODUCER, False),
    )
    for name in names.split()
}
"""Every name to what it is."""

ALIASES = {
    "auto.commit.enable": "enable.auto.commit",
    "compression.codec": "compression.type",
    "fetch.message.max.bytes": "max.partition.fetch.bytes",
    "max.in.flight": "max.in.flight.requests.per.connection",
    "message.send.max.retries": "retries",
    "message.timeout.ms": "delivery.timeout.ms",
    "metadata.broker.list": "bootstrap.servers",
    "queue.buffering.max.ms": "linger.ms",
    "request.required.acks": "acks",
    "sasl.mechanism": "sasl.mechanisms",
    "sasl.oauthbearer.client.credentials.client.id": "sasl.oauthbearer.client.id",
    "sasl.oauthbearer.client.credentials.client.secret": "sasl.oauthbearer.client.secret",
}
"""Second names to the one that the scorer keeps, so that one layer's `max.in.flight` and another's long name meet."""

RESERVED = {
    "auto.commit.interval.ms": "the scorer commits by itself: set commit.every_ms",
    "auto.offset.reset": "streams.<name>.start says where a new group begins, and a lost range halts the stream",
    "delivery.report.only.error": "offsets are committed by counting the confirmed deliveries",
    "delivery.timeout.ms": "an outage is waited out: messages never time out",
    "enable.auto.commit": "the scorer commits what is confirmed: set commit.every_ms",
    "enable.auto.offset.store": "the scorer keeps its own offsets",
    "enable.idempotence": "it is always on, for order and against repeats",
    "enable.partition.eof": "the end of a partition is no record",
    "group.id": "it is <group>.<stream>: set group",
    "transactional.id": "it is made of group and stream",
}
"""Properties that the scorer sets itself, with the reason."""

SECRETS = frozenset(
    {
        "sasl.oauthbearer.assertion.private.key.passphrase",
        "sasl.oauthbearer.assertion.private.key.pem",
        "sasl.oauthbearer.client.secret",
        "sasl.oauthbearer.config",
        "sasl.password",
        "ssl.key.password",
        "ssl.key.pem",
        "ssl.keystore.password",
    }
)
"""Text that must come from a file or the environment, never from scorer.toml or the command line."""

SAFE_TEXT = frozenset(
    {
        "bootstrap.servers",
        "client.id",
        "client.rack",
        "group.instance.id",
        "group.protocol.type",
        "group.remote.assignor",
        "https.ca.location",
        "partition.assignment.strategy",
        "partitioner",
        "sasl.mechanisms",
        "ssl.ca.location",
        "ssl.certificate.location",
        "ssl.cipher.suites",
        "ssl.crl.location",
        "ssl.curves.list",
        "ssl.engine.location",
        "ssl.key.location",
        "ssl.keystore.location",
        "ssl.sigalgs.list",
    }
)
"""Free text that may be printed. Everything else is hidden: an allow-list fails towards saying too little."""

NO_PATHS = frozenset({"probe", "dynamic"})
"""Words that librdkafka takes in a path's place."""


def holds_path(name: str) -> bool:
    """Whether a property names a file or folder, so that it is relative to the settings file."""
    return name.endswith((".location", ".file", ".keytab"))
