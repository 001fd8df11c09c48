"""The engine behind a gradebook: SQLite in a file, or PostgreSQL on a server.

What either of them complains about becomes a sentence that says what to do. Left out: tables.
"""

from typing import Any

import sqlalchemy as sa

from fmbook.grading.course import CourseError

__all__ = ["engine_of", "take_turns"]

BUSY = 30  # seconds that SQLite waits for another program's transaction
TURN = 7_367_432_311  # the number of the lock by which coordinators on a server take turns
STYLE = {"sqlite": "named", "postgresql": "pyformat"}  # both take parameters by name
AGAIN = "run the command again: it goes on where it stopped"


def engine_of(db_url: str) -> sa.Engine:
    """An engine for nbgrader's `db_url`.

    Raises:
        CourseError: it is no address of SQLite or PostgreSQL, or the driver is not installed. What
            the engine is asked later raises this too, where the database cannot answer.
    """
    try:
        url = sa.engine.make_url(db_url)
        backend = url.get_backend_name()
    except sa.exc.ArgumentError:
        raise CourseError(
            "the gradebook's db_url is no address: write sqlite:////FOLDER/gradebook.db or "
            "postgresql://USER@HOST/NAME"
        ) from None
    if backend not in ("sqlite", "postgresql"):
        raise CourseError(
            f"the gradebook's db_url begins with {backend}: only SQLite and PostgreSQL are "
            "supported"
        )
    if url.drivername == "postgresql":
        url = url.set(drivername="postgresql+psycopg")
    try:
        engine = sa.create_engine(url, paramstyle=STYLE[backend])
    except ImportError as error:
        raise CourseError(
            f"a gradebook in PostgreSQL needs {error.name}: pip install 'fmbook[scale]'"
        ) from None
    if backend == "sqlite":
        sa.event.listen(engine, "connect", _sqlite)
        sa.event.listen(engine, "begin", _begin)
    sa.event.listen(engine, "handle_error", _said)
    return engine


def take_turns(db: sa.Connection) -> None:
    """Hold back other coordinators until this transaction ends; SQLite has one writer anyway."""
    if db.dialect.name == "postgresql":
        db.execute(sa.select(sa.func.pg_advisory_xact_lock(TURN)))


def _said(context: Any) -> None:
    """Say an error of the database's own in words; those in our statements stay what they are."""
    error = context.sqlalchemy_exception
    if not isinstance(error, sa.exc.OperationalError | sa.exc.InterfaceError):
        return
    words = " ".join(str(context.original_exception).split())
    if context.dialect.name == "postgresql":
        raise CourseError(
            f"the gradebook's server does not do what it should ({words}): see that it runs, can "
            f"be reached and has room, and {AGAIN}"
        ) from None
    raise CourseError(
        f"the gradebook could not be read or written ({words}); nothing was changed. Close other "
        f"programs that use it, make room on the disk if it is full, and {AGAIN}"
    ) from None


def _sqlite(connection: Any, _record: Any) -> None:
    """Wait for other writers, and survive being killed; transactions begin where we say."""
    connection.isolation_level = None
    connection.execute(f"PRAGMA busy_timeout = {int(BUSY * 1000)}")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")


def _begin(db: sa.Connection) -> None:
    """Take SQLite's lock at a writing transaction's start, where waiting for it is possible."""
    db.exec_driver_sql("BEGIN IMMEDIATE" if db.get_execution_options().get("writes") else "BEGIN")
