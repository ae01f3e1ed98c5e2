"""The device: named, and never another one than was assigned."""

import keras
import pytest

from kpipe.stage import StageError
from stages.network import device


@pytest.mark.cpu
def test_a_cpu_is_named_and_its_memory_measured() -> None:
    assert device.prepare().startswith("cpu")
    assert device.peak_memory_bytes() > 50_000_000


def test_an_assigned_gpu_that_the_backend_does_not_see_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    monkeypatch.setattr(device, "gpu_devices", list)
    with pytest.raises(StageError, match=r"GPU 0 was assigned, but (tensorflow|jax) sees none"):
        device.prepare()


def test_the_memory_told_of_several_gpus_is_that_of_the_fullest(monkeypatch: pytest.MonkeyPatch) -> None:
    peaks = [300, 700, 500]
    if keras.backend.backend() == "jax":

        class Gpu:
            def __init__(self, peak: int) -> None:
                self.peak = peak

            def memory_stats(self) -> dict[str, int]:
                return {"peak_bytes_in_use": self.peak, "bytes_in_use": 1}

        monkeypatch.setattr(device, "gpu_devices", lambda: [Gpu(peak) for peak in peaks])
    else:
        import tensorflow as tf

        monkeypatch.setattr(device, "gpu_devices", lambda: peaks)
        told = {f"GPU:{number}": {"current": 1, "peak": peak} for number, peak in enumerate(peaks)}
        monkeypatch.setattr(tf.config.experimental, "get_memory_info", told.__getitem__)
    assert device.peak_memory_bytes() == 700
