"""What can be found before anything is trained: measured once for a backbone and a set of images, then known to all branches."""

from __future__ import annotations

import hashlib

from kpipe.stage import Stage
from stages import json_files
from stages.data.labels import Labels, sample
from stages.data.rows import Rows
from stages.diagnosis import input_scale, probe
from stages.diagnosis.finding import Finding
from stages.network import keras_files
from stages.pixels import Contract


def find(stage: Stage, labels: Labels) -> list[Finding]:
    """The findings; nothing is expected of the pixels where the backbone's weights are random.

    May build layers: who names layers by their order clears the session afterwards.
    """
    told = json_files.read(stage.inputs["build"] / "pixels.json")["expected"]
    if told is None:
        return []
    rows = sample(labels.rows("train"), 2 * probe.FIT, 0)
    seen = input_scale.Sample(Rows.of(stage.inputs["ingest"] / "images.npy")[rows], labels.index[rows])
    content = hashlib.sha256(seen.images.tobytes() + seen.labels.tobytes()).hexdigest()
    backbone = stage.inputs["build"] / "backbone.keras"
    with stage.memo("diagnosis", backbone=backbone, expected=told, sample=content) as memo:
        if not memo.parts:
            entry = input_scale.Entry.of(keras_files.read(backbone))
            found = input_scale.find(entry, seen, Contract.from_json(told))
            with memo.new_part() as folder:
                json_files.write(folder / "findings.json", [found.to_json()] if found else [])
        return [Finding.from_json(finding) for finding in json_files.read(memo.parts[0] / "findings.json")]
