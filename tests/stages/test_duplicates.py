"""Copies of images: found whatever was done to them, by a search that finds what comparing all with all does."""

from __future__ import annotations

import csv
import json
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter, ImageOps

from kpipe.stage import Stage, StageError
from stages import ingest
from stages.data import copies, duplicates, manifest, perceptual, traits
from stages.data.manifest import Item


def scene(number: int, size: tuple[int, int] = (120, 90)) -> Image.Image:
    """Smooth blobs of colour with some edges, other ones for every number."""
    rng = np.random.default_rng([77, number])
    coarse = Image.fromarray(rng.integers(0, 256, (7, 9, 3), dtype=np.uint8)).resize(size, Image.Resampling.BICUBIC)
    for _ in range(4):
        x, y, w, h = rng.integers(0, 60, 4)
        coarse.paste(tuple(int(v) for v in rng.integers(0, 256, 3)), (int(x), int(y), int(x + w), int(y + h)))
    return coarse.filter(ImageFilter.GaussianBlur(0.7))


CHANGES = {
    "encoded": (lambda image: image, {"quality": 30}),
    "halved": (lambda image: image.resize((60, 45), Image.Resampling.LANCZOS), {"quality": 80}),
    "enlarged": (lambda image: image.resize((300, 225), Image.Resampling.BICUBIC), {"quality": 90}),
    "mirrored": (ImageOps.mirror, {"quality": 70}),
}


def folder(root: Path, each: int = 20) -> Path:
    """train, validation and test of two classes, all pictures different, as JPEG."""
    number = 0
    for split, count in (("train", each), ("validation", 4), ("test", 4)):
        for label in ("cats", "dogs"):
            (root / split / label).mkdir(parents=True, exist_ok=True)
            for i in range(count):
                number += 1
                scene(number).save(root / split / label / f"{i}.jpg", quality=95)
    return root


def copied(root: Path, of: str, to: str, change: str) -> str:
    function, options = CHANGES[change]
    function(Image.open(root / of)).save(root / to, format="JPEG", **options)
    return to


def ingested(tmp_path: Path, source: Path, **params: object) -> Stage:
    stage = Stage(out=tmp_path / f"out-{len(list(tmp_path.iterdir()))}", scratch=tmp_path / "scratch", store=tmp_path / "store")
    ingest.run(stage, source=source, **{"image_size": 48, **params})  # type: ignore[arg-type]
    return stage


def audit(stage: Stage) -> dict:
    return json.loads((stage.out / "audit.json").read_text(encoding="utf-8"))["duplicates"]


def paths(stage: Stage, split: str = "train") -> set[str]:
    return {item.path for item in manifest.read(stage.out / "manifest.csv") if item.split == split}


def seen(images: list[Image.Image], size: tuple[int, int] = (32, 32)) -> traits.Traits:
    return traits.measure((np.asarray(image.resize(size[::-1], Image.Resampling.BILINEAR)) for image in images), size)


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("resize", ["stretch", "crop", "pad"])
def test_a_copy_in_another_split_is_found_whatever_was_done_to_it(tmp_path, change, resize):
    source = folder(tmp_path / "pets")
    copied(source, "train/cats/3.jpg", "test/cats/copy.jpg", change)
    stage = ingested(tmp_path, source, resize=resize)
    found = audit(stage)
    assert found["near"]["pairs"] == [["test/cats/copy.jpg", "train/cats/3.jpg"]]
    assert (found["near"]["across_splits"], found["near"]["conflicting"], found["across_splits"]) == (1, 0, 0)
    assert found["leaked"] == {"validation": 0, "test": 1}
    assert [(pair["kind"], pair["mirrored"]) for pair in found["shown"]] == [("near", change == "mirrored")]
    assert [notice.split(";")[0] for notice in stage.notices] == ["1 image lies in more than one split as near copies"]


def test_pixels_that_are_equal_are_exact_copies_in_whatever_file(tmp_path):
    source = folder(tmp_path / "pets")
    Image.open(source / "train/cats/1.jpg").save(source / "train/dogs/same.png")
    found = audit(ingested(tmp_path, source, image_size=120))
    assert found["pairs"] == [["train/cats/1.jpg", "train/dogs/same.png"]]
    assert (found["within"], found["conflicting"], found["near"]["within"]) == (1, 1, 0)
    assert [pair["kind"] for pair in found["shown"]] == ["same pixels"]


def test_a_picture_with_an_exact_and_a_near_copy_is_told_once(tmp_path):
    source = folder(tmp_path / "pets")
    (source / "test/dogs/exact.jpg").write_bytes((source / "train/cats/1.jpg").read_bytes())
    copied(source, "train/cats/1.jpg", "train/cats/near.jpg", "halved")
    stage = ingested(tmp_path, source)
    found = audit(stage)
    assert (found["across_splits"], found["conflicting"]) == (1, 1)
    assert (found["near"]["across_splits"], found["near"]["conflicting"], found["near"]["within"]) == (0, 0, 0)
    assert found["near"]["pairs"] != [] and found["leaked"] == {"validation": 0, "test": 1}
    assert [notice.split(";")[0] for notice in stage.notices] == ["1 image lies in more than one split as exact copies"]
    copied(source, "train/dogs/2.jpg", "validation/dogs/near.jpg", "halved")
    notices = ingested(tmp_path, source).notices
    assert [notice.split(";")[0] for notice in notices] == [
        "2 images lie in more than one split, 1 as exact and 1 as near copies"
    ]


def test_different_pictures_have_no_copies(tmp_path):
    stage = ingested(tmp_path, folder(tmp_path / "pets", each=60))
    assert audit(stage)["near"]["pairs"] == [] and audit(stage)["shown"] == [] and not stage.notices
    with (stage.out / copies.NAME).open() as file:
        assert list(csv.DictReader(file)) == []


def test_dropped_are_training_images_alone_and_all_are_told(tmp_path):
    source = folder(tmp_path / "pets")
    copied(source, "test/cats/0.jpg", "train/cats/leak.jpg", "mirrored")
    copied(source, "train/dogs/2.jpg", "train/dogs/2-small.jpg", "halved")
    copied(source, "train/dogs/2.jpg", "train/dogs/2-large.jpg", "enlarged")
    copied(source, "validation/dogs/1.jpg", "test/dogs/both.jpg", "encoded")
    before = ingested(tmp_path, source)
    stage = ingested(tmp_path, source, duplicates="drop")
    gone = {"train/cats/leak.jpg", "train/dogs/2-small.jpg", "train/dogs/2.jpg"}  # the largest of three stays
    assert paths(before) - paths(stage) == gone and paths(stage) < paths(before)
    assert all(paths(stage, split) == paths(before, split) for split in ("validation", "test"))
    told = {one["path"]: one["copy_of"] for one in audit(stage)["dropped"]}
    assert told == {"train/cats/leak.jpg": "test/cats/0.jpg"} | dict.fromkeys(sorted(gone)[1:], "train/dogs/2-large.jpg")
    assert stage.notices[0].startswith("3 training images dropped, for which copies stay: train/cats/leak.jpg = test/cats/0")
    assert audit(stage)["near"]["pairs"] == [["test/dogs/both.jpg", "validation/dogs/1.jpg"]]
    assert audit(stage)["leaked"] == {"validation": 0, "test": 0}
    whole = json.loads((stage.out / "audit.json").read_text(encoding="utf-8"))
    assert (whole["files"], whole["images"]) == (60, 57)


def test_a_dropped_image_whose_copy_has_another_class_is_said(tmp_path):
    source = folder(tmp_path / "pets")
    (source / "train/dogs/cat.jpg").write_bytes((source / "train/cats/1.jpg").read_bytes())
    (source / "train/cats/twin.jpg").write_bytes((source / "train/cats/2.jpg").read_bytes())
    stage = ingested(tmp_path, source, duplicates="drop")
    assert stage.notices == [
        "2 training images dropped, for which copies stay: train/cats/twin.jpg = train/cats/2.jpg, "
        "train/dogs/cat.jpg = train/cats/1.jpg; 1 of another class than its copy"
    ]


def test_of_many_exact_copies_those_in_different_splits_are_shown(tmp_path):
    source = folder(tmp_path / "pets")
    for name in ("test/dogs/a.jpg", "test/dogs/b.jpg"):
        (source / name).write_bytes((source / "train/dogs/1.jpg").read_bytes())
    shown = audit(ingested(tmp_path, source))["shown"]
    assert [one["paths"] for one in shown] == [["test/dogs/a.jpg", "train/dogs/1.jpg"]]
    with pytest.raises(StageError, match=r"copies of others: 2, test/dogs/a\.jpg = train/dogs/1\.jpg"):
        ingested(tmp_path, source, duplicates="error")


def test_what_stays_keeps_its_pixels_and_its_row(tmp_path):
    source = folder(tmp_path / "pets")
    copied(source, "test/cats/0.jpg", "train/cats/00.jpg", "encoded")
    before, after = ingested(tmp_path, source), ingested(tmp_path, source, duplicates="drop")
    images = {stage: np.load(stage.out / "images.npy") for stage in (before, after)}
    old = {item.path: item.row for item in manifest.read(before.out / "manifest.csv")}
    items = manifest.read(after.out / "manifest.csv")
    assert [item.row for item in items] == list(range(len(images[after]))) and len(items) == len(old) - 1
    assert all((images[after][item.row] == images[before][old[item.path]]).all() for item in items)
    counts = json.loads((after.out / "dataset.json").read_text())["counts"]["train"]
    assert counts == {"cats": 20, "dogs": 20}


def test_copies_are_an_error_where_asked(tmp_path):
    source = folder(tmp_path / "pets")
    ingested(tmp_path, source, duplicates="error")
    copied(source, "train/cats/5.jpg", "train/cats/x.jpg", "encoded")
    copied(source, "train/cats/4.jpg", "validation/cats/y.jpg", "halved")
    words = r"images that are copies of others: 2, train/cats/4.jpg = validation/cats/y.jpg, train/cats/5.jpg = train/cats/x.jpg"
    with pytest.raises(StageError, match=words) as caught:
        ingested(tmp_path, source, duplicates="error")
    assert "duplicates" in str(caught.value.hint)


@pytest.mark.parametrize("split", ["stable", "exact"])
def test_copies_are_not_drawn_apart(tmp_path, split):
    for label in ("cats", "dogs"):
        (tmp_path / "pets" / label).mkdir(parents=True)
        for i in range(30):
            scene(100 * len(label) + i + (label == "dogs") * 50).save(tmp_path / "pets" / label / f"{i:02d}.jpg", quality=95)
    for i in range(20):
        copied(tmp_path / "pets", f"cats/{i:02d}.jpg", f"cats/{i:02d}-again.jpg", list(CHANGES)[i % 4])
    stage = ingested(tmp_path, tmp_path / "pets", split=split, folds=3, validation=0.3, test=0.3)
    items = {item.path: item for item in manifest.read(stage.out / "manifest.csv")}
    pairs = [(items[f"cats/{i:02d}.jpg"], items[f"cats/{i:02d}-again.jpg"]) for i in range(20)]
    assert all((a.split, a.fold) == (b.split, b.fold) and a.hash != b.hash for a, b in pairs)
    assert len({a.split for a, _ in pairs}) == 3
    assert audit(stage)["near"] | {"pairs": []} == {
        "across_splits": 0, "within": 20, "conflicting": 0, "pairs": [], "distance": 7, "small": 0, "flat": 0,
    }  # fmt: skip


def test_a_class_that_would_lose_all_its_training_images_is_an_error(tmp_path):
    source = folder(tmp_path / "pets", each=2)
    for i in range(2):
        copied(source, f"train/cats/{i}.jpg", f"test/cats/x{i}.jpg", "encoded")
    with pytest.raises(StageError, match="all training images of cats are copies") as caught:
        ingested(tmp_path, source, duplicates="drop")
    assert caught.value.hint


def test_one_colour_all_over_is_a_copy_of_nothing_but_itself(tmp_path):
    source = folder(tmp_path / "pets")
    for number, level in enumerate((0, 60, 120, 255)):
        noise = np.random.default_rng(number).integers(0, 2, (90, 120, 3))
        Image.fromarray((np.full((90, 120, 3), min(level, 254)) + noise).astype(np.uint8)).save(
            source / f"train/cats/z{level}.png"
        )
    Image.new("RGB", (50, 50), "red").save(source / "train/dogs/red.png")
    Image.new("RGB", (70, 40), "red").save(source / "train/dogs/red too.png")
    found = audit(ingested(tmp_path, source))
    assert found["near"]["pairs"] == [] and found["near"]["flat"] == 6
    assert found["pairs"] == [["train/dogs/red too.png", "train/dogs/red.png"]]


def test_a_layout_that_all_share_makes_no_copies():
    layout = np.asarray(scene(1)).astype(float)
    images = [Image.fromarray((0.85 * layout + 0.15 * np.asarray(scene(n))).astype(np.uint8)) for n in range(2, 202)]
    images += [ImageOps.mirror(images[7]), images[9].resize((70, 52))]
    look = seen(images)
    raw = perceptual.normalized(look.thumbs)
    assert np.median((raw @ raw.T)[np.triu_indices(len(raw), 1)]) > 0.9  # alike enough to mislead
    found = perceptual.find(look, np.arange(len(images)) % 2)
    assert found.pairs.tolist() == [[7, 200], [9, 201]] and found.mirrored.tolist() == [True, False]


def test_the_same_shape_in_another_colour_is_no_copy():
    shape = np.asarray(scene(5).convert("L"))
    tinted = [Image.fromarray(np.stack([shape if c in on else shape // 2 for c in range(3)], axis=2)) for on in ((0,), (2,))]
    images = [*tinted, *(scene(n) for n in range(100, 160))]
    assert perceptual.find(seen(images), np.arange(len(images)) % 2).pairs.tolist() == []


@pytest.mark.parametrize("distance", [7, 3])
def test_the_search_finds_what_comparing_all_with_all_finds(distance, monkeypatch):
    monkeypatch.setattr(perceptual, "CHUNK", 500)
    rng = np.random.default_rng(4)
    hashes = rng.integers(0, 2**63, 300, dtype=np.uint64)
    for i in range(200):  # neighbours at all distances to 12, in all places
        flips = rng.choice(64, rng.integers(0, 13), replace=False).astype(np.uint64)
        hashes[100 + i] = hashes[rng.integers(0, 100 + i)] ^ np.bitwise_or.reduce(np.uint64(1) << flips, initial=np.uint64(0))
    queries = hashes ^ rng.integers(0, 2, 300).astype(np.uint64)
    bits = lambda values: np.unpackbits(values[:, None].view(np.uint8), axis=1)  # noqa: E731
    apart = (bits(hashes)[:, None] != bits(queries)[None]).sum(2)
    truth = {(a, b) for a in range(300) for b in range(a + 1, 300) if apart[a, b] <= distance}
    parts = list(perceptual.candidates(hashes, queries, distance))
    assert {pair for a, b in parts for pair in zip(a.tolist(), b.tolist(), strict=True)} == truth and len(truth) > 50


@pytest.mark.parametrize("total", [60, 20])  # with and without what all share taken away
def test_vectors_are_the_same_in_blocks_as_at_once(total, monkeypatch):
    thumbs = seen([scene(n) for n in range(total)]).thumbs
    raw = thumbs.reshape(total, -1).astype(np.float64)
    raw -= raw.mean(1, keepdims=True)
    raw /= np.linalg.norm(raw, axis=1, keepdims=True)
    shared = raw.mean(0) if total >= perceptual.FEW else 0
    flipped = raw.reshape(total, 16, 16)[:, :, ::-1].reshape(total, -1) - shared
    plain = raw - shared
    plain, flipped = (values / np.linalg.norm(values, axis=1, keepdims=True) for values in (plain, flipped))
    monkeypatch.setattr(perceptual, "BLOCK", 7)
    vectors = perceptual.Vectors(thumbs)
    a, b = np.arange(total), np.arange(total)[::-1].copy()
    assert np.allclose(vectors.of(a), plain, atol=1e-5) and np.allclose(vectors.of(b, mirrored=True), flipped[::-1], atol=1e-5)
    for mirrored, other in ((False, plain), (True, flipped)):
        assert np.allclose(vectors.alike(a, b, mirrored), (plain * other[::-1]).sum(1), atol=1e-5)
        assert np.array_equal(vectors.hashes(mirrored), perceptual.hashed(other.astype(np.float32)))


def test_memory_for_vectors_is_that_of_a_block_however_many_pictures_there_are():
    thumbs = np.random.default_rng(0).uniform(0, 255, (30_000, 16, 16)).astype(np.float16)
    tracemalloc.start()
    perceptual.Vectors(thumbs).hashes()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 30_000 * 16 * 16 * 4  # one copy of all of them as float32


def test_pictures_too_alike_to_search_are_said_and_cost_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(perceptual, "ALWAYS_ALLOWED", 0)
    monkeypatch.setattr(perceptual, "MOST_CANDIDATES", 0)
    stage = ingested(tmp_path, folder(tmp_path / "pets"))
    assert audit(stage)["near"]["distance"] == 0
    assert stage.notices == ["the images are too alike to look for all near copies"]


def test_small_digits_are_not_taken_for_copies(tmp_path):
    stage = Stage(out=tmp_path / "out", scratch=tmp_path / "scratch", store=tmp_path / "store")
    ingest.run(stage, source="sample:digits", image_size=32)
    assert audit(stage)["near"]["small"] == 1797 and audit(stage)["shown"] == [] and not stage.notices


def test_digits_would_not_become_copies_were_they_compared(monkeypatch):
    from sklearn.datasets import load_digits

    data = load_digits()
    look = seen([Image.fromarray(np.rint(image * 255 / 16).astype(np.uint8)).convert("RGB") for image in data.images])
    assert len(perceptual.find(look, data.target).pairs) < 5


def test_thumbnails_average_the_luminance_over_areas():
    image = scene(8, (64, 48))
    look = seen([image], (48, 64))
    gray = np.asarray(image).astype(float) @ [0.299, 0.587, 0.114]
    assert np.allclose(look.thumbs[0], gray.reshape(16, 3, 16, 4).mean((1, 3)), atol=0.1)
    assert np.allclose(look.color[0], np.asarray(image).mean((0, 1)), atol=0.01)
    assert np.allclose(look.brightness[0], gray.mean(), atol=0.01)
    ring = np.asarray(image).astype(float).copy()
    ring[1:-1, 1:-1] = np.nan
    assert np.allclose(look.border[0], np.nanmean(ring, axis=(0, 1)), atol=0.01)


@pytest.mark.parametrize("size", [(8, 8), (17, 33), (100, 16)])
def test_thumbnails_of_any_size_keep_the_mean(size):
    image = scene(3, size[::-1])
    look = seen([image], size)
    assert abs(float(look.thumbs[0].mean()) - float(look.brightness[0])) < 0.2


def test_traits_in_batches_are_those_of_each(monkeypatch):
    images = [scene(n) for n in range(5)]
    whole = seen(images)
    monkeypatch.setattr(traits, "BATCH_BYTES", 32 * 32 * 3 * 4 * 2)
    parts = seen(images)
    assert all((values == vars(parts)[name]).all() for name, values in vars(whole).items())


def test_sharpness_is_the_variance_of_pillows_laplacian():
    image = scene(4).convert("L")
    kernel = ImageFilter.Kernel((3, 3), (0, 1, 0, 1, -4, 1, 0, 1, 0), scale=8, offset=128)  # /8: Pillow's result is 8 bits
    theirs = (np.asarray(image.filter(kernel))[1:-1, 1:-1].astype(float) - 128) * 8
    assert float(seen([image.convert("RGB")], image.size[::-1]).sharpness[0]) == pytest.approx(theirs.var(), rel=0.1)


def items(labels: str, splits: str) -> list[Item]:
    names = {"t": "train", "v": "validation", "e": "test"}
    return [Item(f"{i}", label, f"{i:064x}", 100, 100, "RGB", "PNG", 1, i, names[split])
            for i, (label, split) in enumerate(zip(labels, splits, strict=True))]  # fmt: skip


def test_identities_hold_near_copies_together(tmp_path):
    data = items("aabb", "tvte")
    assert copies.identities(tmp_path, data) == [item.hash for item in data]
    copies.write(tmp_path, data, np.array([4, 4, 1, 2]))
    found = copies.identities(tmp_path, data)
    assert found[0] == found[1] and len(set(found)) == 3 and found[2:] == [data[2].hash, data[3].hash]


def test_of_some_images_the_copies_among_them_are_left():
    near = perceptual.Near(np.array([[0, 2], [2, 3]]), np.array([0.99, 0.98], np.float32), np.array([False, True]))
    all_of = duplicates.Copies(np.array([0, 1, 2, 3]), np.array([5, 6, 5, 5]), near)
    some = all_of.of(np.array([1, 2, 3]))
    assert some.near.pairs.tolist() == [[1, 2]] and some.near.mirrored.tolist() == [True] and some.all.tolist() == [6, 5, 5]
