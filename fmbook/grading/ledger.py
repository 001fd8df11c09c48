"""The table of jobs beside nbgrader's own: what was graded, from what, by whom it is held now.

One transaction writes a submission's grades and its row here. Left out: files, running anything.
"""

import json
import os
import secrets
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from fmbook.grading.gradebook import Gradebook, Key, Record
from fmbook.grading.verdict import Verdict

__all__ = ["Entry", "Ledger"]

NAMES = ("era", "stem", "student")


@dataclass(frozen=True)
class Entry:
    """A row of the table of jobs.

    `state` is `graded`, `unreadable` (a result: there is nothing to grade), `missing` (not handed
    in), `failed` (the machine's fault: no result) or `waiting`.
    """

    era: str
    stem: str
    student: str
    state: str
    verdict: Verdict | None
    key: str
    seed: str
    file: str  # sha256 of the notebook in autograded/
    finished: datetime | None
    error: str
    late_penalty: float = 0.0

    @property
    def seconds(self) -> float:
        return self.verdict.seconds if self.verdict else 0.0


class Ledger(Gradebook):
    """The gradebook with the table of jobs in it."""

    def __init__(self, db_url: str) -> None:
        super().__init__(db_url)
        own = sa.MetaData()
        names = [sa.Column(n, sa.String(128), primary_key=True) for n in NAMES]
        texts = ("state", "key", "seed", "file", "verdict", "finished", "error")
        lease = ("lease_owner", "lease_until")
        columns = [sa.Column(n, sa.Text, nullable=False, server_default="") for n in texts + lease]
        self.jobs = sa.Table("fmbook_job", own, *names, *columns)
        same = sa.and_(*(self.jobs.c[n] == sa.bindparam(f"of_{n}") for n in NAMES))
        self.job = sa.select(self.jobs).where(same)
        self.change = self.jobs.update().where(same)  # of the columns that are given
        dialect = {"sqlite": sqlite, "postgresql": postgresql}[self.engine.dialect.name]
        row: Any = dialect.insert(self.jobs)
        free = self.jobs.c.lease_until <= sa.bindparam("now")
        self.reserve = row.on_conflict_do_update(
            index_elements=NAMES, set_={n: row.excluded[n] for n in lease}, where=free
        )
        self.meta = sa.Table(
            "fmbook_meta",
            own,
            sa.Column("name", sa.String(128), primary_key=True),
            sa.Column("value", sa.Text, nullable=False),
        )
        with self.write() as db:
            own.create_all(db)

    def secret(self) -> str:
        """The course's grading secret, made at first use: the seeds of checks come from it."""
        with self.write() as db:
            query = sa.select(self.meta.c.value).where(self.meta.c.name == "secret")
            found = db.execute(query).scalar()
            if found is None:
                found = secrets.token_hex(16)
                db.execute(self.meta.insert().values(name="secret", value=found))
            return str(found)

    def note(self, name: str, value: Any) -> None:
        """Keep a fact about the course or the last run, as JSON."""
        with self.write() as db:
            db.execute(self.meta.delete().where(self.meta.c.name == name))
            db.execute(self.meta.insert().values(name=name, value=json.dumps(value)))

    def noted(self, name: str) -> Any:
        """What `note` kept, or None."""
        with self.engine.connect() as db:
            query = sa.select(self.meta.c.value).where(self.meta.c.name == name)
            found = db.execute(query).scalar()
        return None if found is None else json.loads(found)

    def entries(
        self, era: str | None = None, stem: str | None = None, student: str | None = None
    ) -> list[Entry]:
        """The jobs that are known, in the order of era, stem, student."""
        c, s = self.jobs.c, self.submitted()
        late = sa.select(s).where(s.c.late_submission_penalty.is_not(None))
        query = sa.select(self.jobs).order_by(c.era, c.stem, c.student)
        for name, value in zip(NAMES, (era, stem, student), strict=True):
            if value is not None:
                query = query.where(c[name] == value)
        with self.engine.connect() as db:
            penalty = {(r.era, r.stem, r.student): r[1] for r in db.execute(late)}
            rows = [dict(row._mapping) for row in db.execute(query)]
        return [_entry(row, penalty) for row in rows]

    def entry(self, key: Key) -> Entry | None:
        """The job of one submission, or None."""
        with self.engine.connect() as db:
            row = db.execute(self.job, _row(key)).mappings().first()
        return _entry(row, {}) if row else None

    def claim(self, key: Key, seconds: float) -> bool:
        """Reserve a submission for this process; False if another, living one holds it."""
        now = datetime.now(UTC)
        until = (now + timedelta(seconds=seconds)).isoformat()
        lease = {"lease_owner": _me(), "lease_until": until}
        row = dict(zip(NAMES, key, strict=True)) | lease | {"state": "waiting"}
        with self.write() as db:
            if db.execute(self.reserve, row | {"now": now.isoformat()}).rowcount:
                return True
            holder = str(db.execute(self.job, _row(key)).one().lease_owner)
            theirs = self.change.where(self.jobs.c.lease_owner == holder)
            return _dead(holder) and db.execute(theirs, _row(key) | lease).rowcount == 1

    def let_go(self, key: Key) -> None:
        """Give a reserved submission back as it was."""
        with self.write() as db:
            db.execute(self.change, _row(key) | {"lease_until": ""})

    def fail(self, key: Key, error: str) -> None:
        """Note that the machine could not grade a submission; its grades stay as they were."""
        values = {"state": "failed", "error": error[:2000], "lease_until": ""}
        with self.write() as db:
            db.execute(self.change, _row(key) | values)

    def record(self, key: Key, record: Record) -> None:
        """Store all that belongs to a submission, in one transaction; the claim ends with it."""
        values = {
            "state": record.state,
            "key": record.key,
            "seed": record.seed,
            "file": record.file,
            "verdict": json.dumps(record.verdict.as_json(), sort_keys=True),
            "finished": datetime.now(UTC).isoformat(),
            "error": "",
            "lease_until": "",
        }
        with self.write() as db:
            self.write_grades(db, key, record)
            db.execute(self.change, _row(key) | values)


def _row(key: Key) -> dict[str, str]:
    """What `Ledger.job` and `Ledger.change` call the parts of a key."""
    return {f"of_{name}": value for name, value in zip(NAMES, key, strict=True)}


def _entry(row: Mapping[Any, Any], penalty: Mapping[Key, float]) -> Entry:
    key = (row["era"], row["stem"], row["student"])
    verdict = Verdict.from_json(json.loads(row["verdict"])) if row["verdict"] else None
    finished = datetime.fromisoformat(row["finished"]) if row["finished"] else None
    return Entry(
        *key,
        row["state"],
        verdict,
        row["key"],
        row["seed"],
        row["file"],
        finished,
        row["error"],
        penalty.get(key, 0.0),
    )


def _started(pid: int) -> str:
    """When a process of this machine started, in the kernel's ticks; "" if it is not there."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except OSError:
        return ""


def _me() -> str:
    return f"{socket.gethostname()}/{os.getpid()}/{_started(os.getpid())}"


def _dead(owner: str) -> bool:
    """Whether a lease's owner was a process of this machine that is no more."""
    host, _, rest = owner.partition("/")
    pid, _, started = rest.partition("/")
    return host == socket.gethostname() and pid.isdecimal() and _started(int(pid)) != started
