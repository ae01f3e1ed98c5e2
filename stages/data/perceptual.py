"""Near copies: pictures that were encoded anew, resized or mirrored, found without comparing all with all.

A picture's hash is the signs of 64 low frequencies of its thumbnail (as pHash: Zauner 2010, "Implementation and benchmarking
of perceptual image hash functions"). From every thumbnail the mean of all is taken first, so that what all pictures of a set
share (a layout, a bright centre) counts for nothing. Pairs whose hashes differ in few bits are found by multi-index hashing
(Norouzi, Punjani & Fleet 2012): of four words of 16 bits, at least one differs in less than a quarter of these bits. What is
found so is a copy where the thumbnails correlate, and the mean colours agree.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stages.data.traits import SIDE, Traits

DISTANCE = 7  # bits of 64 in which hashes of copies may differ
NEARER = 3  # the same, where pictures are too alike for DISTANCE
MOST_CANDIDATES = 400  # pairs for each picture, above which pictures are too alike for a distance
ALWAYS_ALLOWED = 20_000_000  # pairs
CORRELATION = 0.98  # of the thumbnails of copies
APART = 20  # a copy is so many times as near as pictures of other classes are
COLOR = 16.0  # levels of 255 by which a mean colour may differ
FLAT = 2.0  # levels of 255: the standard deviation of a thumbnail below which it has no structure to compare
FEW = 50  # pictures; the mean of fewer is too much that of single ones to be taken away
SAMPLE = 1000  # pictures that tell how near pictures of other classes are
CHUNK = 2_000_000  # pairs whose hashes are compared at a time
BLOCK = 4096  # vectors made at a time


@dataclass(frozen=True)
class Near:
    """Pairs of near copies, first < second, sorted; and what could not be compared."""

    pairs: NDArray[np.int64]  # (P, 2)
    similarity: NDArray[np.float32]  # (P,): correlation of the thumbnails
    mirrored: NDArray[np.bool_]  # (P,): left and right are exchanged
    distance: int = DISTANCE  # bits; 0: the pictures were too alike, and none were compared


def find(traits: Traits, labels: NDArray[np.int64]) -> Near:
    """Near copies among pictures that are not flat. `labels` (N,) are their classes: they tell how much alike no copies are."""
    if len(labels) < 2:
        return Near(np.empty((0, 2), np.int64), np.empty(0, np.float32), np.empty(0, bool))
    vectors = Vectors(traits.thumbs)
    some = np.random.default_rng(0).permutation(len(labels))[:SAMPLE]
    least = threshold(vectors.of(some), labels[some])
    hashes, mirror = vectors.hashes(), vectors.hashes(mirrored=True)
    distance = affordable(hashes, mirror)
    found: dict[tuple[int, int], tuple[float, bool]] = {}
    for queries, mirrored in ((hashes, False), (mirror, True)) if distance else ():
        for a, b in candidates(hashes, queries, distance):
            same_color = (np.abs(traits.color[a] - traits.color[b]) <= COLOR).all(1)
            a, b = a[same_color], b[same_color]
            alike = vectors.alike(a, b, mirrored)
            for i, j, value in zip(*(x[alike >= least].tolist() for x in (a, b, alike)), strict=True):
                found[i, j] = max(found.get((i, j), (-1.0, False)), (value, mirrored))
    pairs = sorted(found)
    return Near(
        np.array(pairs, np.int64).reshape(-1, 2),
        np.array([found[p][0] for p in pairs], np.float32),
        np.array([found[p][1] for p in pairs], bool),
        distance,
    )


def flat(traits: Traits) -> NDArray[np.bool_]:
    """(N,): pictures without structure, which are alike to no other and to all."""
    return np.asarray(traits.thumbs.std((1, 2), dtype=np.float32) < FLAT)


class Vectors:
    """Thumbnails (N, SIDE, SIDE) as vectors of mean 0 and length 1 without what all share; made for some at a time."""

    def __init__(self, thumbs: NDArray[np.float16]) -> None:
        self.thumbs = thumbs
        blocks = [normalized(thumbs[start : start + BLOCK]).sum(0, dtype=np.float64) for start in range(0, len(thumbs), BLOCK)]
        self.shared = (np.sum(blocks, 0) / len(thumbs) * (len(thumbs) >= FEW)).astype(np.float32)

    def of(self, rows: NDArray[np.int64] | slice, mirrored: bool = False) -> NDArray[np.float32]:
        """(K, SIDE * SIDE): those of some rows, left and right exchanged or not."""
        thumbs = self.thumbs[rows]
        return unit(normalized(thumbs[:, :, ::-1] if mirrored else thumbs) - self.shared)

    def hashes(self, mirrored: bool = False) -> NDArray[np.uint64]:
        """(N,): of all."""
        starts = range(0, len(self.thumbs), BLOCK)
        return np.concatenate([hashed(self.of(slice(start, start + BLOCK), mirrored)) for start in starts])

    def alike(self, a: NDArray[np.int64], b: NDArray[np.int64], mirrored: bool) -> NDArray[np.float32]:
        """(P,): the correlation of rows a[i] and b[i], the latter mirrored or not."""
        found = np.empty(len(a), np.float32)
        for some in (slice(start, start + BLOCK) for start in range(0, len(a), BLOCK)):
            found[some] = np.einsum("ij,ij->i", self.of(a[some]), self.of(b[some], mirrored))
        return found


def normalized(thumbs: NDArray[np.float16]) -> NDArray[np.float32]:
    """(N, SIDE * SIDE): each of mean 0 and length 1."""
    vectors = thumbs.reshape(len(thumbs), -1).astype(np.float32)
    return unit(vectors - vectors.mean(1, keepdims=True))


def unit(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """The vectors (N, K) at length 1."""
    return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-6), np.float32)


def threshold(vectors: NDArray[np.float32], labels: NDArray[np.int64]) -> float:
    """The correlation from which on two pictures are copies: nearer than pictures of other classes are by the factor APART."""
    nearest = np.where(labels[:, None] != labels, vectors @ vectors.T, -1).max(1, initial=-1)
    return max(CORRELATION, 1 - float(1 - np.median(nearest)) / APART) if len(labels) else CORRELATION


def hashed(vectors: NDArray[np.float32]) -> NDArray[np.uint64]:
    """(N,): the signs of the 64 lowest frequencies of a discrete cosine transform in two dimensions, the mean left out."""
    order = sorted(((u, v) for u in range(12) for v in range(12) if u + v), key=lambda at: (sum(at), at))[:64]
    waves = np.cos(np.pi * (np.arange(SIDE) + 0.5) * np.arange(12)[:, None] / SIDE)
    basis = np.stack([np.outer(waves[u], waves[v]).ravel() for u, v in order], axis=1).astype(np.float32)
    bits = np.packbits(vectors @ basis > 0, axis=1)
    return np.ascontiguousarray(bits).view(np.uint64)[:, 0]


def affordable(hashes: NDArray[np.uint64], mirror: NDArray[np.uint64]) -> int:
    """DISTANCE, or where that would mean too many comparisons NEARER, or 0."""
    allowed = max(MOST_CANDIDATES * len(hashes), ALWAYS_ALLOWED)
    for distance in (DISTANCE, NEARER):
        counted = (int(counts.sum()) for queries in (hashes, mirror) for *_, counts in _lookups(hashes, queries, distance))
        if sum(counted) <= allowed:
            return distance
    return 0


def candidates(
    hashes: NDArray[np.uint64], queries: NDArray[np.uint64], distance: int
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """All pairs a < b in which hashes[a] and queries[b] differ in at most `distance` <= 7 bits, in parts, some more than once."""
    for order, starts, counts in _lookups(hashes, queries, distance):
        ends = np.cumsum(counts)
        cuts = np.searchsorted(ends, np.arange(CHUNK, ends[-1] + CHUNK, CHUNK))
        for low, high in zip([0, *cuts], [*cuts, len(counts)], strict=True):
            some = counts[low:high]
            b = np.repeat(np.arange(low, high), some)
            a = order[np.repeat(starts[low:high] - (np.cumsum(some) - some), some) + np.arange(len(b))]
            near = (a < b) & (np.bitwise_count(hashes[a] ^ queries[b]) <= distance)
            yield a[near], b[near]


def _lookups(
    hashes: NDArray[np.uint64], queries: NDArray[np.uint64], distance: int
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]]:
    """For each word and each bit of it that may differ: rows ordered by word, where each query's begin, and how many."""
    flips = [0] if distance < 4 else [0, *(1 << bit for bit in range(16))]
    for word in range(4):
        keys, asked = (((x >> np.uint64(16 * word)) & np.uint64(0xFFFF)).astype(np.int64) for x in (hashes, queries))
        order = np.argsort(keys, kind="stable")
        offsets = np.concatenate([[0], np.cumsum(np.bincount(keys, minlength=1 << 16))])
        for flip in flips:
            yield order, offsets[asked ^ flip], offsets[(asked ^ flip) + 1] - offsets[asked ^ flip]
