"""The rules that are waiting for their match. They are kept in the store: a restart doesn't forget them."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from local_cloud.vertex.control.script import AnswerScenario, Fault, JobScenario, Rule

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from local_cloud.vertex.jobs.store import Store

KINDS: dict[str, type[Rule]] = {"faults": Fault, "scenarios": JobScenario, "answers": AnswerScenario}

AnyRule = TypeVar("AnyRule", bound=Rule)


class Rules:
    """All rules of a store, in the order they were added."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._rules = {
            number: (KINDS[kind].model_validate_json(document), matched)
            for number, kind, document, matched in store.rules()
        }

    def add(self, rule: Rule) -> int:
        """Keep a rule and return its number."""
        kind = next(name for name, model in KINDS.items() if type(rule) is model)
        number = self._store.add_rule(kind, rule.model_dump_json())
        self._rules[number] = (rule, 0)
        return number

    def set_all(self, rules: Sequence[Rule]) -> None:
        """Drop all rules and keep these instead."""
        for number in list(self._rules):
            self.remove(number)
        for rule in rules:
            self.add(rule)

    def all(self, model: type[AnyRule]) -> dict[int, tuple[AnyRule, int]]:
        """Return the rules of one kind by number, each with how often it has matched."""
        return {n: (rule, matched) for n, (rule, matched) in self._rules.items() if isinstance(rule, model)}

    def remove(self, number: int) -> None:
        """Drop a rule."""
        del self._rules[number]
        self._store.remove_rule(number)

    def take(self, model: type[AnyRule], matches: Callable[[AnyRule], bool]) -> tuple[int, AnyRule] | None:
        """Use up one turn of the first rule that applies and return it with its number, or None.

        A rule that matches but is still skipping counts the match and leaves the field to the rules after it.
        """
        for number, (rule, matched) in self.all(model).items():
            if not matches(rule):
                continue
            if rule.times is not None and matched + 1 >= rule.skip + rule.times:
                self.remove(number)
            else:
                self._rules[number] = (rule, matched + 1)
                self._store.count_match(number)
            if matched >= rule.skip:
                return number, rule
        return None
