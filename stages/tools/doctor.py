"""Doctor: what is wrong with the branches of the last run, or with a network that another program trained."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from kpipe.stage import Stage, StageError
from stages import json_files
from stages.diagnosis import course, folder, label_errors, not_learning, output_layer, overfitting, trained, validation_skew
from stages.diagnosis.finding import Finding
from stages.diagnosis.folder import Folder
from stages.diagnosis.foreign import Foreign
from stages.diagnosis.patient import Patient
from stages.diagnosis.seen import Seen
from stages.network import device, keras_files
from stages.reporting.results import read_results

FIXES = {  # in Keras, for who has no pipeline file
    "batchnorm-gap": "call a pretrained backbone with training=False; give layers that learn from scratch a shorter memory: "
    "keras.layers.BatchNormalization(momentum=0.9)",
    "leakage": "take the validation images that are among the training images out of the training folder",
    "imbalance": "model.fit(..., class_weight={0: ..., 1: ...}), inverse to how frequent the classes are",
    "learning-rate-high": "a tenth of the learning rate, and again until the loss falls from the first epoch on",
    "learning-rate-low": "ten times the learning rate, and again until the loss bends",
    "saturated-outputs": "end with a Dense layer without activation, and give the loss from_logits=True",
    "overfitting": "model.fit(..., callbacks=[keras.callbacks.EarlyStopping(patience=3, restore_best_weights=True)])",
    "unfinished": "model.fit(...) for more epochs",
}


CROSS_ENTROPIES = ("categorical_crossentropy", "sparse_categorical_crossentropy")


def run(stage: Stage, *, model: str = "", data: str = "", history: str = "") -> None:
    """Write findings.json: of each finding the branch ("" where it is a file) and the record.

    Without `model` those of the last run's branches. Else `model` is a .keras file, `data` a folder with one folder a class, or
    train/ and validation/ with these, and `history` a CSV file as keras.callbacks.CSVLogger writes it. StageError where one
    of them cannot be read.
    """
    told = [{"branch": "", **finding.to_json()} for finding in examine(stage, model, data, history)] if model else of_run(stage)
    json_files.write(stage.out / "findings.json", told)


def of_run(stage: Stage) -> list[dict[str, Any]]:
    """Findings of the last run's branches."""
    results, incomplete = read_results(stage.branches)
    for sentence in incomplete:
        stage.notice(sentence)
    if not results:
        raise StageError("the last run has no evaluated branch", hint="finish `kpipe run`, or give MODEL.keras --data FOLDER")
    return [{"branch": result.label, **record} for result in results for record in result.findings]


def examine(stage: Stage, model: str, data: str, history: str) -> list[Finding]:
    """What the rules find on a network, a sample of its images, and its history where there is one."""
    device.prepare()
    network = read_network(Path(model))
    pictures = folder.read(stage, Path(data), network.whole.inputs[0].shape[1:3])
    patient = Patient.of(stage, network, pictures)
    rows = course.read(stage, Path(history)) if history else ()
    added = penalty(stage, network, Path(model)) if history else 0.0
    seen = Seen(
        classes=pictures.classes,
        train=patient.splits["train"],
        validation=patient.splits["validation"],
        training_labels=pictures.training_labels,
        history=rows,
        chosen=overfitting.kept(rows, patient.splits["validation"], added) if pictures.own_split else 0,
        changes=output_layer.changes(network.whole),
        silent=patient.silent,
        settings={"penalty": added, "saturates": output_layer.saturates(network.whole)},
    )
    if added and not_learning.penalised(seen):
        stage.notice("the losses of the history hold a penalty on the weights: whether they are those of guesses is not judged")
    known = [finding for finding in (output_layer.find(network.whole), skewed(pictures, seen)) if finding]
    known += [*patient.measured(), *patient.leaked(seen)]
    found = [*known, *trained.find(seen, known)]
    found += label_errors.find(seen, [item.path for item in patient.pictures.validation.items], found)
    return [in_keras(finding) for finding in found]


def in_keras(finding: Finding) -> Finding:
    """The finding with what a script must do. No earlier end mends what is known by heart while the validation loss stays."""
    stays = finding.rule == "overfitting" and finding.fix is None
    return finding if stays else replace(finding, fix=FIXES.get(finding.rule, finding.fix))


def read_network(path: Path) -> Foreign:
    """The network in a file; StageError where it cannot be read or takes no RGB pictures of a fixed size."""
    model = keras_files.read_foreign(path, hint="give the file that model.save(...) wrote")
    if not getattr(model, "inputs", None):  # a Sequential that was never called, or a class of the program's own
        raise StageError(f"{path.name} is no graph of layers", hint="save a Sequential or functional model that was built")
    shapes = [tuple(given.shape) for given in model.inputs]
    if len(shapes) != 1 or len(shapes[0]) != 4 or shapes[0][3] != 3 or None in shapes[0][1:3]:
        says = f"{path.name} takes {', '.join(map(str, shapes))}"
        raise StageError(says, hint="it must take RGB pictures of a fixed size: (None, height, width, 3)")
    if len(model.outputs) != 1:
        raise StageError(f"{path.name} has {len(model.outputs)} outputs", hint="it must give one: a probability for each class")
    return Foreign(model)


def skewed(pictures: Folder, seen: Seen) -> Finding | None:
    """The rule on how validation was prepared, where the folder's own validation images are looked at."""
    return validation_skew.find(seen) if pictures.own_split else None


def penalty(stage: Stage, network: Foreign, path: Path) -> float | None:
    """What regularizers add to the loss, at the weights as they are; None where the loss is no cross-entropy of the classes."""
    loss, units = keras_files.compiled_loss(path), network.whole.outputs[0].shape[-1]
    if loss is None or loss in CROSS_ENTROPIES or (loss == "binary_crossentropy" and units == 1):
        return float(sum(map(float, network.model.losses)))
    stage.notice(
        f"the losses of the history are those of {loss}: they are not compared with those of guesses, or of these images"
    )
    return None
