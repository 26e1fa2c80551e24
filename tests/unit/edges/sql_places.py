"""A database of a real PostgreSQL of one's own, and sinks that write there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from scorer.core.schema import WriterSchema
from scorer.core.tables import layout
from scorer.edges.sql.database import Access, open_engine
from scorer.edges.sql.names import Names
from scorer.edges.sql.sink import SqlSink
from tests.harness.postgres import Server
from tests.harness.sinks import ENTITIES, schema_of
from tests.unit.edges.sql_loads import SOURCES


@dataclass(slots=True)
class Place:
    """A database, and the sinks that were made on it."""

    server: Server
    database: str
    made: list[SqlSink] = field(default_factory=list)

    def engine(self, query: str = "", user: str = "scorer") -> Any:
        """An engine as the sink opens it; `query` ends the URL."""
        return open_engine(Access(f"{self.server.url}/{self.database}{query}", user))

    def sink(
        self,
        kind: str = "lead",
        *,
        schema: WriterSchema | None = None,
        base: str = "t",
        query: str = "",
        user: str = "scorer",
    ) -> SqlSink:
        """A sink that is prepared."""
        wanted = layout((schema or schema_of(kind)).root, ENTITIES[kind])
        sink = SqlSink(self.engine(query, user), Names(base), SOURCES[kind], wanted)
        self.made.append(sink)
        sink.prepare()
        return sink

    def run(self, statement: str) -> None:
        """Does something as the superuser."""
        with self.server.connect(self.database) as connection:
            connection.execute(statement)

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """What the superuser is answered."""
        with self.server.connect(self.database) as connection:
            return list(connection.execute(query).fetchall())

    @contextmanager
    def role(self, name: str, grants: str) -> Iterator[str]:
        """A role that may log in, for the length of the block; `{}` in the grants is its name."""
        own = f"{name}_{self.database}"
        self.run(f"CREATE ROLE {own} LOGIN; {grants.format(own)}")
        try:
            yield own
        finally:
            self.close()
            self.run(f"DROP OWNED BY {own} CASCADE; DROP ROLE {own}")

    def close(self) -> None:
        """Ends the sinks' connections."""
        for each in self.made:
            each.close()
