"""Settings that were changed at run time. They are kept in the store: a restart doesn't forget them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from local_cloud.vertex.control.script import Behaviour

if TYPE_CHECKING:
    from local_cloud.vertex.jobs.store import Store
    from local_cloud.vertex.settings import Settings

_NAME = "changed_settings"


class Changes:
    """The changes of a store, made to the behaviour that the settings hold."""

    def __init__(self, store: Store, settings: Settings) -> None:
        self._store = store
        self._settings = settings
        self._changes: dict[str, Any] = json.loads(store.kept(_NAME) or "{}")
        settings.behaviour = settings.behaviour_with(self._changes)

    def make(self, changes: dict[str, Any]) -> None:
        """Change these fields of the behaviour.

        Raises:
            ValidationError: there is no such behaviour; nothing is changed.
        """
        behaviour = Behaviour.model_validate({**self._settings.behaviour.model_dump(), **changes})
        self._keep({**self._changes, **{name: getattr(behaviour, name) for name in changes}})
        self._settings.behaviour = behaviour

    def forget(self) -> None:
        """Return to the behaviour that was set at the start."""
        self._keep({})
        self._settings.behaviour = self._settings.behaviour_with({})

    def _keep(self, changes: dict[str, Any]) -> None:
        self._changes = changes
        self._store.keep(_NAME, json.dumps(changes))
