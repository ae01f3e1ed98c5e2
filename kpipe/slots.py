"""What stages may take at the same time: jobs, and GPUs by their ids."""

from __future__ import annotations

from kpipe.dag import Instance
from kpipe.identity import device_kind, gpus


def wanted_gpus(backend: str | None, asked: int) -> int:
    """How many GPUs a task gets: as many as it asks for and there are, one where the backend sees any, none on a CPU."""
    if backend is None or device_kind(backend) != "gpu":
        return 0
    return min(max(1, asked), len(gpus()))


class Slots:
    """Hands out jobs and GPUs; two tasks that run at the same time never share a GPU."""

    def __init__(self, jobs: int) -> None:
        self.jobs = jobs
        self._gpus = gpus()

    def fit(self, instance: Instance) -> bool:
        """Whether there are a job and GPUs enough for an instance."""
        return self.jobs > 0 and self._wanted(instance) <= len(self._gpus)

    @staticmethod
    def _wanted(instance: Instance) -> int:
        return wanted_gpus(instance.backend, instance.stage.resources.get("gpus", 0))

    def take(self, instance: Instance) -> tuple[str, ...]:
        """Begin a job: the ids of the GPUs that go with it."""
        wanted = self._wanted(instance)
        self.jobs -= 1
        taken, self._gpus = self._gpus[:wanted], self._gpus[wanted:]
        return tuple(taken)

    def give_back(self, taken: tuple[str, ...]) -> None:
        """End a job."""
        self.jobs += 1
        self._gpus = sorted([*self._gpus, *taken])
