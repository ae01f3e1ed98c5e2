"""Preprocess: the pixel contract, the recipe, the contact sheet, the static checks."""

import json
import tomllib
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from kpipe.stage import Stage, StageError
from stages import ingest, preprocess
from stages.augment import RECIPES, recipe_from_json
from stages.diagnosis import recipe_checks, static_checks
from stages.pixels import CONTRACTS, Contract


def data(tmp_path, counts=(40, 40), size=32):
    source = tmp_path / "pets"
    for label, total in zip(("cats", "dogs"), counts, strict=True):
        (source / label).mkdir(parents=True)
        for n in range(total):
            picture = np.random.default_rng([n, label == "cats"]).integers(0, 256, (40, 40, 3), dtype=np.uint8)
            Image.fromarray(picture).save(source / label / f"{n}.png")
    stage = Stage(out=tmp_path / "ingest", scratch=tmp_path / "scratch", store=tmp_path / "store")
    ingest.run(stage, source=source, image_size=size, split="exact")
    return stage.out


def preprocessed(tmp_path, ingested, name="out", model="resnet50", **params):
    stage = Stage(
        out=tmp_path / name, inputs={"ingest": ingested}, scratch=tmp_path / "scratch", store=tmp_path / "store",
        modules={"resnet50": "stages.backbones.resnet50", "vgg16": "stages.backbones.vgg16"},
    )  # fmt: skip
    preprocess.run(stage, model=model, **params)
    return stage.out


def read(folder, name):
    return json.loads((folder / name).read_text())


def rules(folder):
    return {found["rule"]: found for found in read(folder, "checks.json")}


@pytest.mark.parametrize(
    ("scaling", "name"), [("model", "caffe"), ("unit", "unit"), ("symmetric", "symmetric"), ("torch", "torch"), ("none", "none")]
)
def test_the_contract_is_the_asked_one_beside_that_of_the_weights(tmp_path, scaling, name):
    found = read(preprocessed(tmp_path, data(tmp_path), scaling=scaling), "pixels.json")
    assert Contract.from_json(found["contract"]) == CONTRACTS[name]
    assert Contract.from_json(found["weights_contract"]) == CONTRACTS["caffe"]
    assert (found["scaling"], found["backbone"]) == (scaling, "resnet50")


def test_defaults_ask_for_nothing_unusual(tmp_path):
    out = preprocessed(tmp_path, data(tmp_path, counts=(500, 500)))
    assert read(out, "augment.json") == {**RECIPES["none"].to_json(), "seed": 0} and read(out, "checks.json") == []


def test_single_settings_replace_those_of_the_recipe(tmp_path):
    out = preprocessed(
        tmp_path, data(tmp_path), augment="light", rotation=0, brightness=[0.8, 1.2], horizontal_flip=False, seed=4
    )
    recipe = recipe_from_json(read(out, "augment.json"))
    assert (recipe.name, recipe.rotation, recipe.brightness, recipe.horizontal_flip, recipe.zoom, recipe.seed) == (
        "light", 0, (0.8, 1.2), False, 0.1, 4,
    )  # fmt: skip


@pytest.mark.parametrize("name", RECIPES)
@pytest.mark.parametrize(
    "own",
    [{}, {"zoom": 20.0}, {"brightness": [0.0, 0.02]}, {"rotation": 3.0, "height_shift": 0.05}, {"augment_validation": True}],
)
def test_every_recipe_is_told_of_and_can_be_put_back(tmp_path, name, own):
    """Preprocess's own checks say lines of the pipeline file; so does evaluate, from what preprocess wrote."""
    ingested = data(tmp_path)
    out = preprocessed(tmp_path, ingested, "first", augment=name, **own)
    recipe = recipe_from_json(read(out, "augment.json"))
    for setting in own.keys() - {"augment_validation"}:
        assert setting in recipe_checks.described(recipe) or getattr(recipe, setting) == getattr(RECIPES[name], setting)
    for wanted in RECIPES:
        stages = tomllib.loads(recipe_checks.instead(recipe, wanted)).get("stages", {"preprocess": {"params": {}}})
        settings = {"augment": name, **own, **stages["preprocess"]["params"], "augment_validation": False}
        again = preprocessed(tmp_path, ingested, wanted, **settings)
        assert replace(recipe_from_json(read(again, "augment.json")), name=wanted) == RECIPES[wanted]


@pytest.mark.parametrize("brightness", [[0.5], [1.2, 0.8], [1, 1, 1]])
def test_a_brightness_that_is_no_range_is_an_error(tmp_path, brightness):
    with pytest.raises(StageError, match="no range"):
        preprocessed(tmp_path, data(tmp_path), brightness=brightness)


def test_images_below_the_smallest_of_the_network_are_an_error(tmp_path):
    with pytest.raises(StageError, match="ResNet50 needs images of at least 32 x 32 pixels, these have 16 x 16") as caught:
        preprocessed(tmp_path, data(tmp_path, size=16))
    assert caught.value.hint == "stages.ingest.params.image_size = 32"


@pytest.mark.parametrize("model", ["resnet50", "vgg16"])
def test_the_same_stage_twice_gives_the_same_bytes(tmp_path, model):
    ingested = data(tmp_path)
    outs = [preprocessed(tmp_path, ingested, name, model, augment="question", scaling="unit") for name in ("a", "b")]
    first, second = ({p.name: p.read_bytes() for p in out.iterdir()} for out in outs)
    assert first == second and set(first) == {"pixels.json", "augment.json", "contact_sheet.png", "checks.json"}


def lines(out):
    sheet = np.asarray(Image.open(out / "contact_sheet.png")).astype(int)
    return [sheet[start : start + 96] for start in range(0, len(sheet), 100)]


def test_the_contact_sheet_shows_images_as_stored_as_read_and_as_augmented(tmp_path):
    ingested = data(tmp_path)
    plain = lines(preprocessed(tmp_path, ingested, "a"))
    assert len(plain) == 2 and (plain[0] == plain[1]).all()
    unit = lines(preprocessed(tmp_path, ingested, "b", scaling="unit", augment="light"))
    assert len(unit) == 5 and (unit[0] == plain[0]).all()
    cells = unit[1][:, :96]
    assert np.abs(cells - [124, 117, 104]).max() <= 1
    assert (unit[2] != unit[0]).any() and (unit[2] != unit[3]).any()


def test_another_scaling_than_that_of_the_weights_is_noted(tmp_path):
    found = rules(preprocessed(tmp_path, data(tmp_path), scaling="unit"))["scaling-choice"]
    assert found["severity"] == "note" and found["fix"] == 'stages.preprocess.params.scaling = "model"'
    assert found["evidence"]["given"] == [0, 1] and found["evidence"]["expected"] == [-123.68, 151.061]


def test_augmented_validation_images_are_warned_of(tmp_path):
    ingested = data(tmp_path)
    out = preprocessed(tmp_path, ingested, "a", augment="light", augment_validation=True)
    assert rules(out)["validation-augmented"]["severity"] == "warning" and read(out, "augment.json")["validation"] is True
    assert "validation-augmented" not in rules(preprocessed(tmp_path, ingested, "b", augment="light"))
    assert "validation-augmented" not in rules(preprocessed(tmp_path, ingested, "c", augment_validation=True))


def test_a_recipe_that_loses_the_pictures_is_warned_of_with_the_share_that_is_left(tmp_path):
    ingested = data(tmp_path)
    found = rules(preprocessed(tmp_path, ingested, "a", augment="question"))["augmentation-extreme"]
    assert found["evidence"]["median_share_of_picture"] < 0.02 and found["evidence"]["zoom_factors"] == [-59, 61]
    assert "augmentation-extreme" not in rules(preprocessed(tmp_path, ingested, "b", augment="light"))


def test_data_that_says_little_is_noted(tmp_path):
    found = rules(preprocessed(tmp_path, data(tmp_path, counts=(60, 12))))
    assert (
        found["imbalanced-classes"]["evidence"]["largest"] == "cats" and found["few-test-images"]["evidence"]["test_images"] == 11
    )


@pytest.mark.parametrize(("images", "told"), [(10, True), (138, True), (139, False), (1000, False)])
@pytest.mark.parametrize("split", ["validation", "test"])
def test_splits_that_cannot_tell_branches_apart_are_noted(split, images, told):
    found = list(static_checks.few_images(split, {"cats": images // 2, "dogs": images - images // 2}))
    assert [finding.rule for finding in found] == [f"few-{split}-images"] * told


def test_copies_across_splits_are_warned_of(tmp_path):
    ingested = data(tmp_path)
    audit = read(ingested, "audit.json")
    audit["duplicates"] = {"across_splits": 2, "within": 0, "conflicting": 0, "pairs": [["a.png", "b.png"]]}
    (ingested / "audit.json").write_text(json.dumps(audit))
    assert rules(preprocessed(tmp_path, ingested))["copies-across-splits"]["evidence"] == {"images": 2, "first": "a.png = b.png"}


def test_every_finding_has_all_members(tmp_path):
    members = {"rule", "severity", "title", "cause", "evidence", "fix", "effect", "confidence"}
    out = preprocessed(tmp_path, data(tmp_path), scaling="none", augment="question", augment_validation=True)
    assert all(set(found) == members for found in read(out, "checks.json"))
