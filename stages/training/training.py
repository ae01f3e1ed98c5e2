"""A whole training: its phases one after the other, from the beginning or from where a crash cut it off."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import keras
import numpy as np
from numpy.typing import NDArray

from kpipe.stage import Stage
from stages.data.labels import Labels, sample
from stages.network import activations as prefix
from stages.network import batchnorm as statistics
from stages.network import head
from stages.network.feed import BATCH, Feed
from stages.training import state as states
from stages.training.batches import Batches
from stages.training.feeds import Feeds
from stages.training.loop import Course, Recalibration, Validation, fit
from stages.training.objective import compile_model
from stages.training.phases import Phase, deepest
from stages.training.state import NAME, Checkpoint, State
from stages.training.times import Times


@dataclass(frozen=True)
class Settings:
    """What is asked for."""

    phases: Sequence[Phase]
    optimizer: str
    batch_size: int
    batchnorm: str
    patience: int  # epochs without a better validation loss; 0: never stop early
    activations: str
    seed: int


@dataclass(frozen=True)
class Outline:
    """What a phase comes to in this network."""

    cut: list[str]  # names of the tensors below which nothing has changed since training began; none where nothing is stored
    unfrozen: list[str]  # layers of the backbone that learn
    learning: list[str]  # BatchNormalization layers among them, in batch mode
    batchnorm: str  # none, frozen, train, recalibrate


@dataclass
class Training:
    """`network` learns in place; `backbone_layers` are the layers that can be unfrozen, in order."""

    stage: Stage
    labels: Labels
    network: keras.Model
    backbone_layers: Sequence[str]
    settings: Settings
    state: State = field(default_factory=State)
    times: Times = field(default_factory=Times)

    def go(self) -> None:
        """Fit every phase that is not over yet. StageError where the loss is not finite any more."""
        checkpoint = Checkpoint(self.stage.scratch / NAME)
        kept = self.kept(checkpoint)
        if kept:
            self.state = kept[0]
            self.stage.notice(f"training was cut off, and went on after epoch {len(self.state.history)}")
        for number in range(self.state.phase, len(self.settings.phases)):
            if number > self.state.phase:
                self.state.begin(number)
            course = self.course(number)
            if kept:
                states.assign(course.variables, kept[1])
                states.assign(course.model.optimizer.variables, kept[2])
                kept = None
            fit(course, self.state, self.times, checkpoint)

    def kept(self, checkpoint: Checkpoint) -> tuple[State, states.Arrays, states.Arrays] | None:
        """Where an earlier attempt at this very training came to, if anywhere."""
        try:
            return checkpoint.read()
        except ValueError as e:
            self.stage.notice(f"{e}; training begins anew")
            return None

    def outline(self, number: int) -> Outline:
        """Freeze and unfreeze the network's layers for a phase. What an earlier one changed lies above the cut too."""
        phases, learns = self.settings.phases, self.settings.batchnorm != "frozen"
        head.unfreeze(self.network, self.backbone_layers, deepest(phases[: number + 1]), batchnorm=learns)
        cut = prefix.frontier(self.network, self.backbone_layers) if self.settings.activations != "off" else []
        unfrozen = head.unfreeze(self.network, self.backbone_layers, phases[number].unfreeze, batchnorm=learns)
        learning = statistics.learning(self.network)
        return Outline(cut, unfrozen, learning, batchnorm_used(self.settings.batchnorm, self.network, learning))

    def course(self, number: int) -> Course:
        """A phase, ready to be fitted."""
        settings, phase, outline = self.settings, self.settings.phases[number], self.outline(number)
        with self.times.part("prefix"):
            feeds = Feeds.prepare(self.stage, self.network, outline.cut)
        rows = self.labels.rows("train")
        compile_model(feeds.training.model, settings.optimizer, phase.learning_rate)
        recalibrates = outline.batchnorm == "recalibrate"
        return Course(
            network=self.network,
            batches=Batches(feeds.training, self.labels.index, rows, settings.batch_size, settings.seed),
            validation=Validation(feeds.validation, self.labels.rows("validation"), self.labels.index),
            recalibration=recalibration(feeds.plain, outline.learning, rows, settings.seed) if recalibrates else None,
            variables=[variable for layer in feeds.plain.model.layers for variable in layer.variables],
            phase=phase,
            epochs=sum(phase.epochs for phase in settings.phases),
            patience=settings.patience,
            progress=self.stage.progress,
        )


def batchnorm_used(asked: str, network: keras.Model, learning: Sequence[str]) -> str:
    """What `batchnorm` comes to: "none" in a network without such layers, "frozen" where none of them learns."""
    if not any(map(head.is_batchnorm, network.layers)):
        return "none"
    if not learning:
        return "frozen"
    return "recalibrate" if asked == "auto" else asked


def recalibration(feed: Feed, learning: Sequence[str], rows: NDArray[np.int64], seed: int) -> Recalibration:
    """Re-estimation of those layers' statistics on a sample of the training images, as inference will see them."""
    chosen = sample(rows, statistics.SAMPLE, seed)
    return Recalibration(feed, statistics.batch_mode(feed.model, learning), chosen, BATCH)
