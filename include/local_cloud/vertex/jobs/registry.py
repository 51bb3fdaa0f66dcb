"""The Model Registry's tables: versions of tuned models and the endpoints that serve their checkpoints.

A tuning job makes one version; continuous tuning adds the next one under the same model. The version called
``default`` is the first until the alias is moved. What is deleted is only marked: its version number and its names
are never given to something else.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from local_cloud.vertex.names import now, numbered

if TYPE_CHECKING:
    import sqlite3

DEFAULT_ALIAS = "default"
_SCHEMA = """
CREATE TABLE IF NOT EXISTS model_versions (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT, model TEXT NOT NULL, version INTEGER NOT NULL, parent TEXT NOT NULL,
    job TEXT NOT NULL, checkpoint TEXT, aliases TEXT NOT NULL, changes TEXT NOT NULL DEFAULT '{}',
    created TEXT NOT NULL, updated TEXT NOT NULL, deleted INTEGER NOT NULL DEFAULT 0, UNIQUE (model, version));
CREATE INDEX IF NOT EXISTS model_versions_by_parent ON model_versions (parent, sequence DESC);
CREATE TABLE IF NOT EXISTS model_endpoints (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE, parent TEXT NOT NULL, model TEXT NOT NULL,
    version INTEGER NOT NULL, job TEXT NOT NULL, checkpoint TEXT NOT NULL, created TEXT NOT NULL,
    deleted INTEGER NOT NULL DEFAULT 0);
CREATE INDEX IF NOT EXISTS model_endpoints_by_parent ON model_endpoints (parent, sequence DESC);
CREATE INDEX IF NOT EXISTS model_endpoints_by_model ON model_endpoints (model, version);
"""
_VERSION = "sequence, model, version, job, checkpoint, aliases, changes, created, updated"
_ENDPOINT = "name, model, version, job, checkpoint, created"


@dataclass(frozen=True)
class Version:
    """A version of a tuned model.

    Attributes:
        sequence: position in order of creation.
        model: full resource name, without the version.
        version: its number.
        job_id: the tuning job that made it.
        checkpoint: id of the default checkpoint; None for a model that came without an endpoint.
        aliases: its other names.
        changes: fields that were updated since the job made it; those of the whole model are in its first version.
        created: when it was registered.
        updated: when it was last changed.
    """

    sequence: int
    model: str
    version: str
    job_id: str
    checkpoint: str | None
    aliases: tuple[str, ...]
    changes: dict[str, Any]
    created: str
    updated: str


@dataclass(frozen=True)
class Endpoint:
    """An endpoint that serves one checkpoint of a model version."""

    name: str
    model: str
    version: str
    job_id: str
    checkpoint: str
    created: str


class Registry:
    """The tuned models of a store's database."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        db.executescript(_SCHEMA)

    # Models

    def add_model(
        self, name: str, version: str, job_id: str, endpoints: dict[str, str], checkpoint: str | None = None
    ) -> None:
        """Register what a job made; a version that is already there is replaced.

        Args:
            name: the model, without a version.
            version: number of the version.
            job_id: the job.
            endpoints: checkpoint id by endpoint name, in the order of the checkpoints.
            checkpoint: the default checkpoint; the last one that has an endpoint when left out.
        """
        name, created = numbered(name), now()
        endpoints = {numbered(endpoint): id_ for endpoint, id_ in endpoints.items()}
        default = checkpoint or next(reversed(endpoints.values()), None)
        with self._db:
            self._db.execute("BEGIN")
            replaced = next((item for item in self.versions(name) if item.version == version), None)
            for table in ("model_versions", "model_endpoints"):
                self._db.execute(f"DELETE FROM {table} WHERE model = ? AND version = ?", (name, version))  # noqa: S608
            aliases = replaced.aliases if replaced else ()
            self._db.execute(
                "INSERT INTO model_versions (model, version, parent, job, checkpoint, aliases, created, updated)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (name, version, _parent(name), job_id, default, json.dumps(aliases), created, created),
            )
            self._db.executemany(
                "INSERT OR REPLACE INTO model_endpoints (name, parent, model, version, job, checkpoint, created)"
                " VALUES (?, ?, ?, ?, ?, ?, ?)",
                [(item, _parent(item), name, version, job_id, id_, created) for item, id_ in endpoints.items()],
            )
            self._keep_a_default(name)

    def forget(self, job_id: str, but: tuple[str, str] | None = None) -> None:
        """Drop what a job made, as if it had never been; ``but`` is the model and version to leave alone."""
        name, version = (numbered(but[0]), but[1]) if but else ("", "")
        with self._db:
            self._db.execute("BEGIN")
            gone = self._versions("job = ? AND NOT (model = ? AND version = ?)", job_id, name, version)
            for item in gone:
                for table in ("model_versions", "model_endpoints"):
                    where = "WHERE model = ? AND version = ?"
                    self._db.execute(f"DELETE FROM {table} {where}", (item.model, item.version))  # noqa: S608
                self._keep_a_default(item.model)

    def _keep_a_default(self, name: str) -> None:
        """Let the first version of a model be the default one, if none is."""
        versions = self.versions(name)
        if versions and not any(DEFAULT_ALIAS in item.aliases for item in versions):
            self._db.execute(
                "UPDATE model_versions SET aliases = ? WHERE sequence = ?",
                (json.dumps([DEFAULT_ALIAS, *versions[0].aliases]), versions[0].sequence),
            )

    def next_version(self, name: str) -> str:
        """Return the number that the model's next version gets."""
        row = self._db.execute("SELECT MAX(version) FROM model_versions WHERE model = ?", (name,)).fetchone()
        return str((row[0] or 0) + 1)

    def model(self, name: str, version: str | None = None) -> Version | None:
        """Return a version of a model by its number or an alias; the default one when ``version`` is None or empty."""
        wanted = version or DEFAULT_ALIAS
        return next((item for item in self.versions(name) if wanted in (item.version, *item.aliases)), None)

    def versions(self, name: str) -> list[Version]:
        """Return all versions of a model, oldest first."""
        return self._versions("model = ? AND NOT deleted ORDER BY version", name)

    def models(self, parent: str) -> list[Version]:
        """Return the default versions of a location's models, newest first."""
        found = self._versions("parent = ? AND NOT deleted ORDER BY sequence DESC", parent)
        return [item for item in found if DEFAULT_ALIAS in item.aliases]

    def first(self, name: str) -> Version:
        """Return the first version of a model, deleted or not: it carries what holds for the model as a whole."""
        return self._versions("model = ? ORDER BY version LIMIT 1", name)[0]

    def change(self, version: Version, changes: dict[str, Any], checkpoint: str | None = None) -> None:
        """Keep updated fields of a version, and its default checkpoint when one is given."""
        self._db.execute(
            "UPDATE model_versions SET changes = ?, checkpoint = ?, updated = ? WHERE sequence = ?",
            (json.dumps({**version.changes, **changes}), checkpoint or version.checkpoint, now(), version.sequence),
        )

    def set_aliases(self, version: Version, aliases: list[str]) -> None:
        """Give a version these aliases; other versions of the model lose them."""
        with self._db:
            self._db.execute("BEGIN")
            for item in self.versions(version.model):
                kept = aliases if item.version == version.version else [a for a in item.aliases if a not in aliases]
                self._db.execute(
                    "UPDATE model_versions SET aliases = ? WHERE sequence = ?", (json.dumps(kept), item.sequence)
                )

    def delete(self, name: str, version: str | None = None) -> None:
        """Delete a model with all its versions, or one version, and the endpoints that serve them."""
        where, values = ("model = ?", [name]) if version is None else ("model = ? AND version = ?", [name, version])
        with self._db:
            self._db.execute("BEGIN")
            for table in ("model_versions", "model_endpoints"):
                self._db.execute(f"UPDATE {table} SET deleted = 1 WHERE {where}", values)  # noqa: S608

    def _versions(self, where: str, *values: str) -> list[Version]:
        rows = self._db.execute(f"SELECT {_VERSION} FROM model_versions WHERE {where}", values)  # noqa: S608
        return [
            Version(sequence, model, str(number), job, checkpoint, tuple(json.loads(aliases)), json.loads(more), *times)
            for sequence, model, number, job, checkpoint, aliases, more, *times in rows
        ]

    # Endpoints

    def endpoint(self, name: str) -> Endpoint | None:
        """Return an endpoint by its name."""
        return next(iter(self._endpoints("name = ? AND NOT deleted", name)), None)

    def endpoints(self, parent: str) -> list[Endpoint]:
        """Return a location's endpoints, newest first."""
        return self._endpoints("parent = ? AND NOT deleted ORDER BY sequence DESC", parent)

    def endpoints_of(self, version: Version) -> list[Endpoint]:
        """Return the endpoints of a model version in the order of their checkpoints."""
        where = "model = ? AND version = ? AND NOT deleted ORDER BY sequence"
        return self._endpoints(where, version.model, version.version)

    def _endpoints(self, where: str, *values: str) -> list[Endpoint]:
        rows = self._db.execute(f"SELECT {_ENDPOINT} FROM model_endpoints WHERE {where}", values)  # noqa: S608
        return [
            Endpoint(name, model, str(version), job, checkpoint, created)
            for name, model, version, job, checkpoint, created in rows
        ]


def _parent(name: str) -> str:
    return name.rsplit("/", 2)[0]
