"""Doctor: what is wrong with the branches of the last run, or with a network that another program trained."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path
from typing import Any

from kpipe.stage import Stage, StageError
from stages import json_files
from stages.diagnosis import folder, label_errors, not_learning, output_layer, overfitting, trained
from stages.diagnosis.finding import Finding
from stages.diagnosis.foreign import Foreign
from stages.diagnosis.patient import Patient
from stages.diagnosis.seen import Row, Seen
from stages.network import device, keras_files
from stages.reporting.results import read_results

HISTORY = "--history takes a CSV file as keras.callbacks.CSVLogger writes it"
COLUMNS = {  # what Keras calls it elsewhere
    f"{split}{name}": f"{split}accuracy"
    for split in ("", "val_")
    for name in ("acc", "binary_accuracy", "categorical_accuracy", "sparse_categorical_accuracy")
}
READ = ("epoch", "loss", "accuracy", "val_loss", "val_accuracy")
NOTHING = ("", "NA", "None")
FIXES = {  # in Keras, for who has no pipeline file
    "batchnorm-gap": "call the backbone with training=False, or set layer.trainable = False for its BatchNormalization layers",
    "leakage": "take the validation images that are among the training images out of the training folder",
    "imbalance": "model.fit(..., class_weight={0: ..., 1: ...}), inverse to how frequent the classes are",
    "learning-rate-high": "a tenth of the learning rate, and again until the loss falls from the first epoch on",
    "learning-rate-low": "ten times the learning rate, and again until the loss bends",
    "saturated-outputs": "end with a Dense layer without activation, and give the loss from_logits=True",
    "overfitting": "model.fit(..., callbacks=[keras.callbacks.EarlyStopping(patience=3, restore_best_weights=True)])",
    "unfinished": "model.fit(...) for more epochs",
}


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
    rows = read_history(Path(history)) if history else ()
    seen = Seen(
        classes=pictures.classes,
        train=patient.splits["train"],
        validation=patient.splits["validation"],
        training_labels=pictures.training_labels,
        history=rows,
        chosen=overfitting.kept(rows, patient.splits["validation"]) if pictures.own_split else 0,
        changes=output_layer.changes(network.whole),
        silent=patient.silent,
        settings={"penalty": penalty(network), "saturates": output_layer.saturates(network.whole)},
    )
    if history and not_learning.penalised(seen):
        stage.notice("the losses of the history hold a penalty on the weights: whether they are those of guesses is not judged")
    known = [*patient.measured(), *patient.leaked(seen)]
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


def penalty(network: Foreign) -> float:
    """What regularizers add to the loss, at the weights as they are."""
    return float(sum(map(float, network.model.losses)))


def read_history(path: Path) -> list[Row]:
    """Rows of a history; StageError where it is no CSV file with a loss."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            table = list(csv.DictReader(file))
        rows: list[Row] = [known(row) for row in table]
    except (OSError, ValueError, AttributeError, TypeError) as e:
        raise StageError(f"{path}: {e}", hint=HISTORY) from None
    if not rows or any("loss" not in row for row in rows):
        raise StageError(f"{path.name} has no column loss", hint=HISTORY)
    return rows


def known(row: dict[str, str]) -> Row:
    """The numbers of a row that rules look at, by Keras's own names; a metric of the program's own may be anything."""
    told = {COLUMNS.get(name, name): value for name, value in row.items() if value not in NOTHING}
    return {name: float(told[name]) for name in READ if name in told}
