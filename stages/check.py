"""Check the images and the backbone before anything is trained, so that what must fail is said before an hour is spent."""

from __future__ import annotations

from kpipe.stage import Stage
from stages import json_files
from stages.data.labels import Labels
from stages.diagnosis import untrained
from stages.diagnosis.finding import say
from stages.network import device


def run(stage: Stage) -> None:
    """Write findings.json; evaluate, where it needs this stage, adds its own to them."""
    computes_on = device.prepare()
    found = untrained.find(stage, Labels(stage.inputs["ingest"]))
    json_files.write(stage.out / "findings.json", [finding.to_json() for finding in found])
    say(stage, found)
    stage.measure(device=computes_on, peak_memory_bytes=device.peak_memory_bytes())
