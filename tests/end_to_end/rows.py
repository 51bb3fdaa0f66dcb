"""Play many stories on one stage at once, in one thread: each tells what it waits for, and is told when that is there.

A story is a generator. It acts, then yields a condition; it goes on when the condition holds. All stories see the same
glance at Airflow and at the service, taken once a round, so that forty of them ask no more than one. Airflow's API is
spoken to by one at a time: on SQLite it can't do much more.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Mapping

Story = Generator["Condition", None, None]
Condition = Callable[["Glance"], object]
PAGE = 100
ROUND_SECONDS = 0.5
STORY_SECONDS = 240


class Glance:
    """What Airflow and the service show at one moment.

    :param stage: the rehearsal.
    """

    def __init__(self, stage):
        self._stage = stage
        self._jobs = stage.all_jobs()
        self._tasks = {}
        while self._read_page() == PAGE:
            continue

    def _read_page(self):
        order = {"order_by": "id", "limit": PAGE, "offset": len(self._tasks)}
        page = self._stage.stack.api.get("/dags/~/dagRuns/~/taskInstances", **order)["task_instances"]
        self._tasks |= {(task["dag_run_id"], task["task_id"]): task for task in page}
        return len(page)

    def task(self, run, task_id="tune"):
        """A task's state, and the number of its try."""
        task = self._tasks.get((run.run_id, task_id))
        return (task["state"], task["try_number"]) if task else (None, 0)

    def jobs(self, key):
        """State and attempt of each job there ever was under a key, the oldest first."""
        jobs = [job for job in self._jobs if job["labels"].get("gemini-tuning-key") == key]
        return [f"{job['state'].removeprefix('JOB_STATE_')} {job['labels']['gemini-tuning-attempt']}" for job in jobs]


def play(stage, stories: Mapping[str, Story], *, at_once: int) -> dict[str, Exception | None]:
    """Play stories to their ends and return what was wrong with each.

    :param at_once: how many are under way at a time.
    """
    outcomes: dict[str, Exception | None] = {}
    waiting = dict(stories)
    playing: dict[str, tuple[Story, Condition, float]] = {}
    while waiting or playing:
        glance = Glance(stage)
        for name in [*playing, *list(waiting)[: at_once - len(playing)]]:
            story, condition, until = playing.pop(name, None) or (waiting.pop(name), lambda _: True, _deadline())
            try:
                if condition(glance):
                    condition, until = next(story), _deadline()
                elif time.monotonic() > until:
                    story.throw(TimeoutError(f"waited {STORY_SECONDS} s"))
                playing[name] = (story, condition, until)
            except StopIteration:
                outcomes[name] = None
            except Exception as error:
                outcomes[name] = error
        time.sleep(ROUND_SECONDS)
    return outcomes


def _deadline() -> float:
    return time.monotonic() + STORY_SECONDS
