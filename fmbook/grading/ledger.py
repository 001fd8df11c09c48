"""The table of jobs beside nbgrader's own: what was graded, from what, by whom it is held now.

One transaction writes submissions' grades and their rows here. Left out: files, running anything.
"""

import json
import os
import secrets
import socket
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from fmbook.grading.database import take_turns
from fmbook.grading.gradebook import Gradebook, Key, Record
from fmbook.grading.statements import insert_of
from fmbook.grading.verdict import Verdict

__all__ = ["Entry", "Ledger"]

NAMES = ("era", "stem", "student")
LEASE = ("lease_owner", "lease_until")


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
        texts = ("state", "key", "seed", "file", "verdict", "finished", "error", *LEASE)
        columns = [sa.Column(n, sa.Text, nullable=False, server_default="") for n in texts]
        self.jobs = sa.Table("fmbook_job", own, *names, *columns)
        same = sa.and_(*(self.jobs.c[n] == sa.bindparam(f"of_{n}") for n in NAMES))
        self.me = _me()
        mine = sa.and_(same, self.jobs.c.lease_owner == self.me)
        self.change = self.jobs.update().where(mine)  # of the columns that are given
        lease = {"lease_owner": self.me, "lease_until": sa.bindparam("until")}
        self.reserve = self.jobs.update().where(same).values(lease)
        insert = insert_of(self.engine.dialect.name)
        self.begin = insert(self.jobs).on_conflict_do_nothing()
        self.meta = sa.Table(
            "fmbook_meta",
            own,
            sa.Column("name", sa.String(128), primary_key=True),
            sa.Column("value", sa.Text, nullable=False),
        )
        with self.write() as db:
            take_turns(db)
            own.create_all(db)

    def secret(self) -> str:
        """The course's grading secret, made at first use: the seeds of checks come from it."""
        with self.write() as db:
            take_turns(db)
            query = sa.select(self.meta.c.value).where(self.meta.c.name == "secret")
            found = db.execute(query).scalar()
            if found is None:
                found = secrets.token_hex(16)
                db.execute(self.meta.insert().values(name="secret", value=found))
            return str(found)

    def note(self, name: str, value: Any) -> None:
        """Keep a fact about the course or the last run, as JSON."""
        with self.write() as db:
            take_turns(db)
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
        return self.known([key]).get(key)

    def known(self, keys: Sequence[Key]) -> dict[Key, Entry]:
        """The jobs of some submissions; those without one are not in it."""
        with self.engine.connect() as db:
            rows = db.execute(self._jobs(keys)).mappings().all()
        return {_key(row): _entry(row, {}) for row in rows}

    def _jobs(self, keys: Sequence[Key]) -> sa.Select[Any]:
        c = self.jobs.c
        return sa.select(self.jobs).where(sa.tuple_(c.era, c.stem, c.student).in_(keys))

    def claim(
        self, keys: Sequence[Key], seconds: float, known: Container[Key] = ()
    ) -> dict[Key, Entry]:
        """Reserve submissions for this process: those that no other, living one holds.

        They come back as they stand now; `known` are those that have a row for sure. On a server,
        rows that another coordinator is reserving at this moment are skipped, not waited for.
        """
        now = datetime.now(UTC)
        until = (now + timedelta(seconds=seconds)).isoformat()
        new = [
            dict(zip(NAMES, k, strict=True)) | {"state": "waiting"} for k in keys if k not in known
        ]
        with self.write() as db:
            if new:
                db.execute(self.begin, new)
            held = {_key(row): row for row in self._free(db, keys, now.isoformat())}
            if held:
                db.execute(self.reserve, [_row(k) | {"until": until} for k in held])
        return {k: _entry(row, {}) for k, row in held.items()}

    def _free(self, db: sa.Connection, keys: Sequence[Key], now: str) -> list[Any]:
        query = self._jobs(keys).order_by(*(self.jobs.c[n] for n in NAMES))
        rows = db.execute(query.with_for_update(skip_locked=True)).mappings().all()
        return [row for row in rows if row["lease_until"] <= now or _dead(row["lease_owner"])]

    def renew(self, seconds: float) -> None:
        """Hold what this process has reserved for so long from now on."""
        until = (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat()
        with self.write() as db:
            db.execute(self._mine().values(lease_until=until))

    def let_go(self, key: Key | None = None) -> None:
        """Give a submission back as it was, or all that this process has reserved."""
        with self.write() as db:
            if key is None:
                db.execute(self._mine().values(lease_until=""))
            else:
                db.execute(self.change, _row(key) | {"lease_until": ""})

    def _mine(self) -> sa.Update:
        c = self.jobs.c
        return self.jobs.update().where(c.lease_owner == self.me, c.lease_until != "")

    def fail(self, key: Key, error: str) -> None:
        """Note that the machine could not grade a submission; its grades stay as they were."""
        said = error[:2000].replace("\0", "")
        values = {"state": "failed", "error": said, "lease_until": ""}
        with self.write() as db:
            db.execute(self.change, _row(key) | values)

    def record(self, records: Mapping[Key, Record]) -> set[Key]:
        """Store all that belongs to these submissions in one transaction; their claims end with it.

        Returns those that were stored: of the others the claim ran out, and another process has
        taken them over. Two coordinators go through students in the same order, so that they
        wait for each other and never block each other.
        """
        stored = set()
        with self.write() as db:
            for key in sorted(records, key=lambda key: (key[2], *key)):
                if db.execute(self.change, _row(key) | _values(records[key])).rowcount == 1:
                    self.write_grades(db, key, records[key])
                    stored.add(key)
        return stored


def _key(row: Mapping[Any, Any]) -> Key:
    """The key of a row of the table of jobs."""
    return row["era"], row["stem"], row["student"]


def _row(key: Key) -> dict[str, str]:
    """What `Ledger.job` and `Ledger.change` call the parts of a key."""
    return {f"of_{name}": value for name, value in zip(NAMES, key, strict=True)}


def _values(record: Record) -> dict[str, str]:
    """The columns of a submission's row that change when it is stored."""
    return {
        "state": record.state,
        "key": record.key,
        "seed": record.seed,
        "file": record.file,
        "verdict": json.dumps(record.verdict.as_json(), sort_keys=True),
        "finished": datetime.now(UTC).isoformat(),
        "error": "",
        "lease_until": "",
    }


def _entry(row: Mapping[Any, Any], penalty: Mapping[Key, float]) -> Entry:
    name = _key(row)
    verdict = Verdict.from_json(json.loads(row["verdict"])) if row["verdict"] else None
    finished = datetime.fromisoformat(row["finished"]) if row["finished"] else None
    return Entry(
        *name,
        row["state"],
        verdict,
        row["key"],
        row["seed"],
        row["file"],
        finished,
        row["error"],
        penalty.get(name, 0.0),
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
