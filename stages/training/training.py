"""A whole training: its phases one after the other, from the beginning or from where a crash cut it off."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import keras
import numpy as np
from numpy.typing import NDArray

from kpipe.stage import Stage
from stages.data.labels import Labels, sample
from stages.network import batchnorm as statistics
from stages.network import cut as cuts
from stages.network import head
from stages.network.feed import BATCH, Feed
from stages.network.precision import FLOAT32, compute_in
from stages.training import finder
from stages.training import state as states
from stages.training.batches import Batches
from stages.training.checkpoint import NAME, Checkpoint
from stages.training.feeds import Feeds
from stages.training.loop import Course, Recalibration, Validation, fit
from stages.training.objective import Objective, compile_model
from stages.training.phases import Phase, deepest
from stages.training.rates import layer_shares, variable_shares
from stages.training.schedule import Plateau, Rate, Scaled, schedule
from stages.training.state import State
from stages.training.times import Times


@dataclass(frozen=True)
class Settings:
    """What is asked for."""

    phases: Sequence[Phase]
    objective: Objective
    batch_size: int
    batchnorm: str
    patience: int  # epochs without a better validation loss; 0: never stop early
    plateau_patience: int  # epochs without one after which the schedule "plateau" lowers the rate
    activations: str
    views: int  # augmented copies of every image that come again; 0: new ones in every epoch
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
    stored_bytes: int = 0  # of the activations that the last phase was trained on

    def go(self) -> None:
        """Fit every phase that is not over yet. StageError where the loss is not finite any more."""
        for number in range(len(self.settings.phases)):
            self.outline(number)  # a phase that cannot be had is refused before any is trained
        with Checkpoint(self.stage.scratch / NAME) as checkpoint:
            self.go_on(checkpoint)

    def go_on(self, checkpoint: Checkpoint) -> None:
        """Fit from where the checkpoint is to the end of the last phase."""
        kept = self.kept(checkpoint)
        if kept:
            self.state = kept[0]
            where = f"after epoch {len(self.state.history)}" if self.state.history else "with the learning rate that was found"
            self.stage.notice(f"training was cut off, and went on {where}")
        for number in range(self.state.phase, len(self.settings.phases)):
            if number > self.state.phase:
                self.state.begin(number)
            known = len(self.state.found)
            course = self.course(number)
            if kept:
                states.assign(course.variables, kept[1])
                states.assign(course.model.optimizer.variables, kept[2])
                kept = None
            elif len(self.state.found) > known:
                checkpoint.keep(self.state, course.variables, course.model.optimizer.variables)
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
        cut = cuts.place(self.network, self.backbone_layers) if self.settings.activations != "off" else []
        unfrozen = head.unfreeze(self.network, self.backbone_layers, phases[number].unfreeze, batchnorm=learns)
        learning = statistics.learning(self.network)
        return Outline(cut, unfrozen, learning, batchnorm_used(self.settings.batchnorm, self.network, learning))

    def course(self, number: int) -> Course:
        """A phase, ready to be fitted. The frozen prefix is computed in float32 for every precision of what is fitted."""
        settings, phase, outline = self.settings, self.settings.phases[number], self.outline(number)
        compute_in(self.network.layers, FLOAT32)
        with self.times.part("prefix"):
            epochs = range(self.state.began + 1, self.state.began + phase.epochs + 1)
            kind, views = settings.activations, settings.views
            feeds = Feeds.prepare(self.stage, self.network, outline.cut, self.labels, dtype=kind, views=views, epochs=epochs)
        self.stored_bytes = feeds.stored_bytes
        compute_in(feeds.training.model.layers, settings.objective.precision)
        rows = self.labels.rows("train")
        targets = settings.objective.targets(self.labels.index, len(self.labels.classes))
        batches = Batches(feeds.training, targets, rows, settings.batch_size, settings.seed)
        variables = [variable for layer in feeds.plain.model.layers for variable in layer.variables]
        rate = schedule(phase, self.learning_rate(number, batches, variables), len(batches))
        rate = self.compile(feeds.training.model, phase, rate)
        recalibrates = outline.batchnorm == "recalibrate"
        return Course(
            network=self.network,
            batches=batches,
            validation=Validation(feeds.validation, self.labels.rows("validation"), self.labels.index),
            recalibration=recalibration(feeds.plain, outline.learning, rows, settings.seed) if recalibrates else None,
            variables=variables,
            phase=phase,
            number=number + 1 if len(settings.phases) > 1 else None,
            rate=rate,
            plateau=Plateau(settings.plateau_patience, rate.scale, self.state.plateau) if isinstance(rate, Scaled) else None,
            class_weight=self.class_weight,
            epochs=sum(phase.epochs for phase in settings.phases),
            patience=settings.patience,
            progress=self.stage.progress,
        )

    @property
    def class_weight(self) -> dict[int, float] | None:
        """Weight of each class in the loss of training, as Keras's fit takes it."""
        return self.settings.objective.weights(self.labels.index[self.labels.rows("train")])

    def compile(self, model: keras.Model, phase: Phase, rate: Rate) -> Rate:
        """Compile the model that is fitted, with lower rates for lower layers; returns the rate that it follows."""
        shares = layer_shares(self.network, self.backbone_layers, phase.layer_decay) if phase.layer_decay < 1 else {}
        own = variable_shares(model, shares) if shares else ()
        return compile_model(model, self.settings.objective, rate, own, scaled=phase.schedule == "plateau")

    def learning_rate(self, number: int, batches: Batches, variables: Sequence[keras.Variable]) -> float:
        """The phase's rate: the one that is given, or the one that is found, by this attempt or an earlier one."""
        phase, known, key = self.settings.phases[number], self.state.found, str(number)
        if phase.learning_rate != "find":
            return phase.learning_rate
        if key not in known:
            with self.times.part("finder"):
                build = partial(self.compile, batches.feed.model, replace(phase, schedule="constant"))
                found = finder.find(batches, variables, build, self.class_weight, self.stage.progress)
            known[key] = found.as_json()
        where = f"phase {number + 1}: " if len(self.settings.phases) > 1 else ""
        self.stage.notice(f"{where}{finder.told(known[key])}")
        return float(known[key]["learning_rate"])


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
