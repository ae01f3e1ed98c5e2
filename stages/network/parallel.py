"""Data parallelism over the local devices: Keras's DataParallel on JAX, MirroredStrategy on TensorFlow.

Every device holds all variables and computes its share of a batch; the gradient is the mean over the whole batch, and
BatchNormalization sees the statistics of the whole batch. So the result is that of one device but for rounding, and for
dropout on TensorFlow, where every device draws the same mask for its share.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from kpipe.stage import Stage


def devices() -> list[str]:
    """Names of the local devices: of the GPUs if there are any, else of the CPU, which is one."""
    return list(keras.distribution.list_devices())


def choose(stage: Stage, batch_size: int) -> list[str]:
    """The devices to train on, in batches of this size; says so where they are several, or some are left idle."""
    found = devices()
    used = usable(found, batch_size)
    if len(used) < len(found):
        stage.notice(f"{len(used)} of {len(found)} devices are used: no more can share a batch of {batch_size} images evenly")
    elif len(used) > 1:
        stage.notice(f"trained on {len(used)} devices, which shared every batch of {batch_size} images")
    return used


def usable(names: Sequence[str], batch_size: int) -> list[str]:
    """The most of these devices that divide a batch without a rest."""
    return list(names[: max(number for number in range(1, len(names) + 1) if batch_size % number == 0)])


@contextmanager
def over(names: Sequence[str]) -> Iterator[None]:
    """Compute on all these devices what is made and run inside; with one, the plain way."""
    if len(names) == 1:
        yield
    elif keras.backend.backend() == "jax":
        with Sharded(devices=list(names)).scope():
            yield
    else:
        import tensorflow as tf

        # Not the collective operations that TensorFlow would choose: two strategies in one process use the same keys there
        reduction = tf.distribute.ReductionToOneDevice()
        with tf.distribute.MirroredStrategy(list(names), cross_device_ops=reduction).scope():
            yield


class Sharded(keras.distribution.DataParallel):  # type: ignore[misc]  # keras has no types
    """Divides a batch among the devices; one that leaves a rest is computed by all of them, whole."""

    def get_data_layout(self, data_shape: Sequence[int]) -> Any:
        """How an array of this shape lies on the devices."""
        if data_shape[0] % self.device_mesh.devices.size == 0:
            return super().get_data_layout(data_shape)
        return keras.distribution.TensorLayout([None] * len(data_shape), self.device_mesh)


def number() -> int:
    """How many devices compute what is run here."""
    if keras.backend.backend() == "jax":
        distribution = keras.distribution.distribution()
        return int(distribution.device_mesh.devices.size) if distribution else 1
    import tensorflow as tf

    return int(tf.distribute.get_strategy().num_replicas_in_sync)


@contextmanager
def synchronized(network: keras.Model) -> Iterator[None]:
    """Let BatchNormalization see the whole batch on TensorFlow too; on JAX it does anyway, and refuses the word."""
    several = keras.backend.backend() == "tensorflow" and number() > 1
    layers = [layer for layer in network.layers if several and isinstance(layer, keras.layers.BatchNormalization)]
    for layer in layers:
        layer.synchronized = True
    try:
        yield
    finally:
        for layer in layers:
            layer.synchronized = False


def predict_on_batch(model: keras.Model, batch: Any) -> list[NDArray[Any]]:
    """The model's outputs in inference mode. A batch that leaves a rest is computed whole by every device."""
    results = model.predict_on_batch(shared_out(batch) if number() > 1 else batch)
    results = results if isinstance(results, list | tuple) else [results]
    if number() == 1:
        return [np.asarray(result) for result in results]
    rows = len(keras.tree.flatten(batch)[0])  # TensorFlow gives what the devices did not share once for each of them
    return [np.asarray(result)[: output.shape[0] or rows] for result, output in zip(results, model.outputs, strict=True)]


def shared_out(batch: Any) -> Any:
    """The same arrays, each divided among the devices."""
    if keras.backend.backend() == "jax":
        import jax

        layout = keras.distribution.distribution().get_data_layout
        return keras.tree.map_structure(lambda array: jax.device_put(array, layout(array.shape).backend_layout), batch)
    import tensorflow as tf

    def share(array: NDArray[Any]) -> Any:
        shares = np.split(array, number())
        place = lambda context: tf.convert_to_tensor(shares[context.replica_id_in_sync_group])  # noqa: E731
        return tf.distribute.get_strategy().experimental_distribute_values_from_function(place)

    rest = any(len(array) % number() for array in keras.tree.flatten(batch))
    return batch if rest else keras.tree.map_structure(share, batch)
