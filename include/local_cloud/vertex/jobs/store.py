"""The job store: everything that must outlive the process, in one SQLite file.

A tuning job is kept as its canonical document (see ``wire.kinds``) with the few columns that are searched by. All calls
are short and come from the event loop's thread.
"""

from __future__ import annotations

import json
import sqlite3
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from local_cloud.vertex.names import now

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

_SCHEMA = """
CREATE TABLE IF NOT EXISTS jobs (
    id TEXT PRIMARY KEY, sequence INTEGER UNIQUE, parent TEXT NOT NULL, state TEXT NOT NULL, document TEXT NOT NULL,
    experiment TEXT UNIQUE, scenario TEXT NOT NULL DEFAULT '{}', planted INTEGER NOT NULL DEFAULT 0);
CREATE INDEX IF NOT EXISTS jobs_by_parent ON jobs (parent, sequence DESC);
CREATE TABLE IF NOT EXISTS points (
    job TEXT NOT NULL, metric TEXT NOT NULL, step INTEGER NOT NULL, value REAL NOT NULL, wall_time TEXT NOT NULL,
    PRIMARY KEY (job, metric, step)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS rules (
    id INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT NOT NULL, document TEXT NOT NULL,
    matched INTEGER NOT NULL DEFAULT 0);
CREATE TABLE IF NOT EXISTS kept (name TEXT PRIMARY KEY, value TEXT NOT NULL);
"""
_VERSION = 1
"""Of all tables in the file, whichever module makes them: one more whenever any of them changes."""

ENDED = (
    "JOB_STATE_SUCCEEDED",
    "JOB_STATE_FAILED",
    "JOB_STATE_CANCELLED",
    "JOB_STATE_EXPIRED",
    "JOB_STATE_PARTIALLY_SUCCEEDED",
)


@dataclass(frozen=True)
class Job:
    """A tuning job as it is in the store right now.

    Attributes:
        id: the last part of its name.
        parent: ``projects/{number}/locations/{location}``.
        document: the canonical TuningJob.
        sequence: position in order of creation.
        scenario: what is to become of it, a ``script.JobScenario`` as JSON.
        planted: whether it was put there by the control API instead of being created.
    """

    id: str
    parent: str
    document: dict[str, Any]
    sequence: int
    scenario: str = "{}"
    planted: bool = False

    @property
    def name(self) -> str:
        """Full resource name."""
        return f"{self.parent}/tuningJobs/{self.id}"

    @property
    def state(self) -> str:
        """JobState name."""
        return str(self.document["state"])

    @property
    def location(self) -> str:
        """The job's region."""
        return self.parent.rsplit("/", 1)[1]


@dataclass(frozen=True)
class Point:
    """One value of one metric."""

    metric: str
    step: int
    value: float
    wall_time: str


class OtherVersionError(RuntimeError):
    """The store was written by another version of this program."""


class Store:
    """The SQLite file at ``path``, created when missing.

    Raises:
        OtherVersionError: it is there, but of another version. There are no migrations: a state directory is cheap.
    """

    def __init__(self, path: Path) -> None:
        self.db = sqlite3.connect(path, isolation_level=None)
        self.db.execute("PRAGMA journal_mode = WAL")
        self.db.execute("PRAGMA synchronous = NORMAL")
        self._check_version(path)
        self.db.execute(f"PRAGMA user_version = {_VERSION}")
        self.db.executescript(_SCHEMA)

    def _check_version(self, path: Path) -> None:
        (version,) = self.db.execute("PRAGMA user_version").fetchone()
        (tables,) = self.db.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()
        if tables and version != _VERSION:
            self.db.close()
            raise OtherVersionError(
                f"the state directory {path.parent} was written by another version of this program: "
                "remove it, or give another --state-dir"
            )

    def close(self) -> None:
        """Close the file."""
        self.db.close()

    # Jobs

    def add_job(
        self, job_id: str, parent: str, document: dict[str, Any], scenario: str = "{}", *, planted: bool = False
    ) -> Job:
        """Keep a new job; count it unless it is planted, which replaces one with the same id."""
        with self._transaction():
            if planted:
                self.db.execute("DELETE FROM jobs WHERE id = ?", (job_id,))
            else:
                self.count("tuning_jobs_created")
            sequence = 1 + self.db.execute("SELECT IFNULL(MAX(sequence), 0) FROM jobs").fetchone()[0]
            self.db.execute(
                "INSERT INTO jobs (id, sequence, parent, state, document, experiment, scenario, planted)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (job_id, sequence, parent, document["state"], json.dumps(document), document.get("experiment"),
                 scenario, planted),
            )  # fmt: skip
        return Job(job_id, parent, document, sequence, scenario, planted)

    def job(self, job_id: str) -> Job | None:
        """Return the job with this id."""
        return next(self._jobs("WHERE id = ?", (job_id,)), None)

    def job_of_experiment(self, experiment: str) -> Job | None:
        """Return the job that writes its metrics to this experiment (a context name)."""
        return next(self._jobs("WHERE experiment = ?", (experiment,)), None)

    def jobs(self, parent: str, before: int | None = None) -> Iterator[Job]:
        """Yield a location's jobs, newest first; ``before`` is the sequence of the last one already seen."""
        return self._jobs(
            "WHERE parent = ? AND sequence < ? ORDER BY sequence DESC", (parent, before if before else 2**62)
        )

    def all_jobs(self) -> list[Job]:
        """Return every job there ever was, oldest first."""
        return list(self._jobs("ORDER BY sequence", ()))

    def unfinished_jobs(self) -> list[Job]:
        """Return the jobs that have not ended, oldest first."""
        marks = ", ".join("?" * len(ENDED))
        return list(self._jobs(f"WHERE state NOT IN ({marks}) ORDER BY sequence", ENDED))

    def _jobs(self, where: str, values: Sequence[Any]) -> Iterator[Job]:
        rows = self.db.execute(f"SELECT id, parent, document, sequence, scenario, planted FROM jobs {where}", values)  # noqa: S608
        for job_id, parent, document, sequence, scenario, planted in rows:
            yield Job(job_id, parent, json.loads(document), sequence, scenario, bool(planted))

    def update_job(self, job_id: str, **changes: Any) -> Job:
        """Change fields of a job's document, stamp ``updateTime``, and return the job. None removes a field."""
        job = self.job(job_id)
        if job is None:
            raise KeyError(job_id)
        document = {**job.document, "updateTime": now(), **changes}
        document = {name: value for name, value in document.items() if value is not None}
        self.db.execute(
            "UPDATE jobs SET state = ?, document = ?, experiment = ? WHERE id = ?",
            (document["state"], json.dumps(document), document.get("experiment"), job_id),
        )
        return replace(job, document=document)

    # Metrics

    def add_points(self, job_id: str, points: Iterable[Point]) -> None:
        """Keep metric values of a job."""
        rows = [(job_id, point.metric, point.step, point.value, point.wall_time) for point in points]
        with self._transaction():
            self.db.executemany("INSERT OR REPLACE INTO points VALUES (?, ?, ?, ?, ?)", rows)

    def points(self, job_id: str, metric: str) -> list[Point]:
        """Return the values of one metric in order of their steps."""
        rows = self.db.execute(
            "SELECT metric, step, value, wall_time FROM points WHERE job = ? AND metric = ? ORDER BY step",
            (job_id, metric),
        )
        return [Point(*row) for row in rows]

    def last_points(self, job_id: str) -> list[Point]:
        """Return the last value of each metric of a job, by metric name."""
        rows = self.db.execute(
            "SELECT metric, MAX(step), value, wall_time FROM points WHERE job = ? GROUP BY metric", (job_id,)
        )
        return [Point(*row) for row in rows]

    def forget_points(self, job_id: str) -> None:
        """Drop a job's metrics: it starts over."""
        self.db.execute("DELETE FROM points WHERE job = ?", (job_id,))

    # Rules

    def add_rule(self, kind: str, document: str) -> int:
        """Keep a rule and return its number."""
        row = self.db.execute("INSERT INTO rules (kind, document) VALUES (?, ?) RETURNING id", (kind, document))
        return int(row.fetchone()[0])

    def rules(self) -> list[tuple[int, str, str, int]]:
        """Return the number, kind, document and match count of every rule, oldest first."""
        return self.db.execute("SELECT id, kind, document, matched FROM rules ORDER BY id").fetchall()

    def count_match(self, number: int) -> None:
        """Count a match of a rule."""
        self.db.execute("UPDATE rules SET matched = matched + 1 WHERE id = ?", (number,))

    def remove_rule(self, number: int) -> None:
        """Drop a rule."""
        self.db.execute("DELETE FROM rules WHERE id = ?", (number,))

    # Counters, moments and secrets

    def keep(self, name: str, value: str) -> None:
        """Keep a value under a name."""
        self.db.execute("INSERT OR REPLACE INTO kept VALUES (?, ?)", (name, value))

    def kept(self, name: str) -> str | None:
        """Return the value kept under a name, None when there is none."""
        row = self.db.execute("SELECT value FROM kept WHERE name = ?", (name,)).fetchone()
        return str(row[0]) if row else None

    def count(self, counter: str) -> int:
        """Add one to a counter and return it."""
        value = self.counter(counter) + 1
        self.keep(counter, str(value))
        return value

    def counter(self, counter: str) -> int:
        """Return a counter, 0 when it has never been counted."""
        return int(self.kept(counter) or 0)

    def secret(self, name: str, fresh: str) -> str:
        """Return the secret kept under ``name``; the first call keeps ``fresh``."""
        self.db.execute("INSERT OR IGNORE INTO kept VALUES (?, ?)", (name, fresh))
        row = self.db.execute("SELECT value FROM kept WHERE name = ?", (name,)).fetchone()
        return str(row[0])

    def _transaction(self) -> _Transaction:
        return _Transaction(self.db)


class _Transaction:
    """BEGIN on entry; COMMIT, or ROLLBACK after an exception, on exit."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self.db = db

    def __enter__(self) -> None:
        self.db.execute("BEGIN")

    def __exit__(self, kind: type[BaseException] | None, *_rest: object) -> None:
        self.db.execute("ROLLBACK" if kind else "COMMIT")
