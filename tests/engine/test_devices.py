"""Which GPUs a task gets, by device files and environment alone."""

from __future__ import annotations

import pytest

from kpipe import dispatch, identity


@pytest.fixture
def two_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(identity.glob, "glob", lambda pattern: ["/dev/nvidia1", "/dev/nvidia0"])
    monkeypatch.setattr(identity, "version", lambda name: "1.0")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


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
    assert dispatch.visible_gpus("jax", asked) == given
    assert dispatch.visible_gpus(None, asked) == ()
    assert identity.keras_identity("jax")["device"] == ("gpu" if given else "cpu")


@pytest.mark.usefixtures("two_gpus")
def test_a_gpu_counts_only_where_the_backend_has_its_cuda_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(identity, "version", lambda name: "1.0" if name == "jax-cuda12-plugin" else None)
    assert identity.device_kind("jax") == "gpu"
    assert identity.device_kind("tensorflow") == "cpu"
