"""Which GPUs a task gets, by device files and environment alone."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from kpipe import identity
from kpipe.slots import Slots


@pytest.fixture
def two_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(identity.glob, "glob", lambda pattern: ["/dev/nvidia1", "/dev/nvidia0"])
    monkeypatch.setattr(identity, "version", lambda name: "1.0")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


def instance(backend: str | None, asked: int) -> Any:
    return SimpleNamespace(backend=backend, stage=SimpleNamespace(resources={"gpus": asked}))


@pytest.mark.usefixtures("two_gpus")
@pytest.mark.parametrize(
    ("visible", "asked", "given"),
    [
        (None, 1, ("0",)),
        (None, 2, ("0", "1")),
        (None, 0, ("0",)),
        (None, 3, ("0", "1")),
        ("1", 2, ("1",)),
        ("", 1, ()),
        ("-1", 1, ()),
    ],
)
def test_gpus_of_a_task(monkeypatch: pytest.MonkeyPatch, visible: str | None, asked: int, given: tuple[str, ...]) -> None:
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    slots = Slots(2)
    assert slots.take(instance("jax", asked)) == given
    assert slots.take(instance(None, asked)) == ()
    assert identity.keras_identity("jax")["device"] == ("gpu" if given else "cpu")


@pytest.mark.usefixtures("two_gpus")
def test_a_gpu_counts_only_where_the_backend_has_its_cuda_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(identity, "version", lambda name: "1.0" if name == "jax-cuda12-plugin" else None)
    assert identity.device_kind("jax") == "gpu"
    assert identity.device_kind("tensorflow") == "cpu"


@pytest.mark.usefixtures("two_gpus")
def test_cuda_libraries_count_on_a_gpu_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    libraries = {"nvidia-cudnn-cu12": "1.0", "nvidia-cublas-cu12": "1.0"}
    on_gpu = identity.keras_identity("tensorflow")["packages"]
    assert on_gpu.items() >= libraries.items()
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert not identity.keras_identity("tensorflow")["packages"].keys() & libraries.keys()


def test_backend_of_another_distribution_counts_with_its_version(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(identity, "version", lambda name: None if name == "tensorflow" else "1.0")
    monkeypatch.setattr(identity, "provider", lambda name: (f"{name}-cpu", "2.0"))
    assert identity.keras_identity("tensorflow")["packages"] == {"keras": "1.0", "tensorflow-cpu": "2.0"}


@pytest.mark.usefixtures("two_gpus")
def test_no_gpu_is_given_twice_at_a_time() -> None:
    slots = Slots(3)
    first, second = slots.take(instance("jax", 1)), slots.take(instance("jax", 0))
    assert {*first, *second} == {"0", "1"}
    assert not slots.fit(instance("jax", 1)) and slots.fit(instance(None, 0))
    slots.give_back(first)
    assert slots.fit(instance("jax", 1)) and not slots.fit(instance("jax", 2))
    assert slots.take(instance("jax", 1)) == first


@pytest.mark.usefixtures("two_gpus")
def test_no_more_tasks_than_jobs() -> None:
    slots = Slots(1)
    slots.take(instance(None, 0))
    assert not slots.fit(instance(None, 0))
    slots.give_back(())
    assert slots.fit(instance(None, 0))
