"""The device: named, and never another one than was assigned."""

import pytest

from kpipe.stage import StageError
from stages.network import device


def test_a_cpu_is_named_and_its_memory_measured() -> None:
    assert device.prepare().startswith("cpu")
    assert device.peak_memory_bytes() > 50_000_000


def test_an_assigned_gpu_that_the_backend_does_not_see_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    monkeypatch.setattr(device, "gpu_devices", list)
    with pytest.raises(StageError, match=r"GPU 0 was assigned, but (tensorflow|jax) sees none"):
        device.prepare()
