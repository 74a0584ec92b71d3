"""Statements written with SQLAlchemy, compiled once, run by the driver itself.

A work-horse is a fork, which uses the database for a few milliseconds per job. What it inherits compiled it need not
build again, and what it does not touch is not copied: a claim and a finish in a fresh fork take a third of the time
that they take through SQLAlchemy's connections.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nanoos_lab.store import sql, terms

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from sqlalchemy import Dialect, Executable, Table

#: A row as the driver returns it.
Row = tuple[Any, ...]


class Prepared:
    """One statement as text, and the order of its values."""

    def __init__(self, statement: Executable, dialect: Dialect) -> None:
        compiled: Any = statement.compile(dialect=dialect, compile_kwargs={"render_postcompile": True})  # type: ignore[attr-defined]
        self.text = str(compiled)
        self._constants: dict[str, Any] = compiled.params
        self._order: Sequence[str] | None = compiled.positiontup

    def bind(self, values: Mapping[str, Any]) -> Any:
        """Return the values as the driver wants them."""
        whole = {**self._constants, **values}
        return whole if self._order is None else tuple([whole[name] for name in self._order])


class Statements:
    """The statements of one database that have been compiled so far."""

    def __init__(self, dialect: Dialect) -> None:
        self.dialect = dialect
        self._known: dict[tuple[Any, ...], Prepared] = {}

    def get(self, build: Callable[..., Executable], *shape: Any) -> Prepared:
        """Return the statement that ``build(*shape)`` writes."""
        key = (build, *shape)
        found = self._known.get(key)
        if found is None:
            found = self._known[key] = Prepared(build(*shape), self.dialect)
        return found

    def once(self, statement: Executable) -> Prepared:
        """Compile a statement that is seldom the same."""
        return Prepared(statement, self.dialect)


class Work:
    """Runs statements on one connection.

    Parameters
    ----------
    cursor
        The driver's.
    statements
        Those of its database.
    """

    def __init__(self, cursor: Any, statements: Statements) -> None:
        #: "sqlite" or "postgresql".
        self.dialect = statements.dialect.name
        self._cursor = cursor
        self._statements = statements

    def run(self, build: Callable[..., Executable], *shape: Any, **values: Any) -> list[Row]:
        """Run the statement that ``build(*shape)`` writes with these values; return its rows."""
        prepared = self._statements.get(build, *shape)
        return self._execute(prepared, values)

    def run_many(self, build: Callable[..., Executable], rows: Sequence[Mapping[str, Any]]) -> None:
        """Run a statement that returns nothing once for each mapping of values."""
        prepared = self._statements.get(build)
        if len(rows) == 1:
            # PostgreSQL's driver sets up a pipeline for many.
            self._execute(prepared, rows[0])
            return
        self._cursor.executemany(prepared.text, [prepared.bind(row) for row in rows])

    def run_for_all(self, build: Callable[[int], Executable], ids: Sequence[str], **values: Any) -> list[Row]:
        """Run a statement for jobs, many at a time; return its rows."""
        rows: list[Row] = []
        for start in range(0, len(ids), terms.BATCH):
            some = terms.named("id", ids[start : start + terms.BATCH])
            rows += self.run(build, len(some), **some, **values)
        return rows

    def insert(self, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
        """Add rows, each with values for the same columns."""
        columns = tuple(rows[0])
        prepared = self._statements.get(sql.add, table, *columns)
        if len(rows) == 1:
            self._execute(prepared, rows[0])
        elif self.dialect == "sqlite":
            self._cursor.executemany(prepared.text, [prepared.bind(row) for row in rows])
        else:
            self._copy(table, columns, rows)

    def _copy(self, table: Table, columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> None:
        """Add rows as PostgreSQL likes many of them best: in one stream, without a plan and an answer for each."""
        quote = self._statements.dialect.identifier_preparer.quote
        names = ", ".join(quote(name) for name in columns)
        with self._cursor.copy(f"COPY {quote(table.name)} ({names}) FROM STDIN") as stream:
            for row in rows:
                stream.write_row([row[name] for name in columns])

    def query(self, statement: Executable) -> list[Row]:
        """Run a statement that is seldom the same; return its rows."""
        return self._execute(self._statements.once(statement), {})

    def _execute(self, prepared: Prepared, values: Mapping[str, Any]) -> list[Row]:
        self._cursor.execute(prepared.text, prepared.bind(values))
        if self._cursor.description is None:
            return []
        rows: list[Row] = self._cursor.fetchall()
        return rows
