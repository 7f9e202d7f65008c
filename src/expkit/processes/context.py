"""How a process that starts a job tells it about its surroundings, in one environment variable."""

import json
import os
from dataclasses import asdict, dataclass, replace
from typing import Any

VARIABLE = "EXPKIT_JOB"  # expkit sets it for the processes that it starts; users never set it


@dataclass(frozen=True)
class JobContext:
    """The surroundings of a job; a single run has none of them.

    Args:
        project: the root of the project.
        sweep: the id of the parent run in MLflow.
        overrides: the overrides that distinguish this job, as typed.
        trial: the number of its trial in a search.
        search: the arguments of `work`, for a worker of a search.
        threads: how many threads it may use.
        announce_in: a file that gets the id of the run as soon as it is open.
    """

    project: str | None = None
    sweep: str | None = None
    overrides: str = ""
    trial: str | None = None
    search: dict[str, Any] | None = None
    threads: int | None = None
    announce_in: str | None = None

    def variables(self, **changes: Any) -> dict[str, str]:
        """The environment variable that gives this context, with changes, to another process."""
        return {VARIABLE: json.dumps(asdict(replace(self, **changes)))}


def job_context() -> JobContext:
    """The context that this process was given, or an empty one."""
    return JobContext(**json.loads(os.environ.get(VARIABLE, "{}")))
