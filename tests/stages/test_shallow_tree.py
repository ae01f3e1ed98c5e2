"""The audit's decision tree: what scikit-learn's says, fold by fold."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.model_selection import StratifiedKFold
from sklearn.tree import DecisionTreeClassifier

from stages.data import shallow_tree


def drawn(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Features that tell some of the classes, which differ in size; every other time of few values."""
    rng = np.random.default_rng(seed)
    classes, count = int(rng.integers(2, 7)), int(rng.integers(30, 400))
    labels = rng.choice(classes, count, p=rng.dirichlet(np.full(classes, 3.0)))
    labels = np.concatenate([labels, np.repeat(np.arange(classes), 6)])
    features = rng.normal(size=(len(labels), 1 + seed % 3)) + rng.normal(size=classes)[labels, None] * (seed % 4) / 3
    return (np.round(2 * features) if seed % 2 else features), labels


def theirs(features: np.ndarray, labels: np.ndarray, depth: int) -> DecisionTreeClassifier:
    tree = DecisionTreeClassifier(max_depth=depth, min_samples_leaf=2, class_weight="balanced", random_state=0)
    return tree.fit(features, labels)


@pytest.mark.parametrize("seed", range(24))
def test_tree_of_one_feature_says_what_that_of_scikit_learn_says(seed: int) -> None:
    features, labels = drawn(seed)
    tree = theirs(features[:, :1], labels, 3)
    shares = np.sort(tree.predict_proba(features[:, :1]))
    clear = shares[:, -2] < shares[:, -1] - 1e-9  # which of two equal classes is said, rounding decides
    ours = shallow_tree.fit(features[:, :1], labels, 3).predict(features)
    assert clear.any() and np.array_equal(ours[clear], tree.predict(features[:, :1])[clear])


@pytest.mark.parametrize("seed", range(0, 48, 2))
def test_of_several_features_the_best_is_split(seed: int) -> None:
    features, labels = drawn(seed)
    split, tree = shallow_tree.fit(features, labels, 1).split, theirs(features, labels, 1).tree_
    assert split and (split.feature, split.threshold) == (tree.feature[0], pytest.approx(tree.threshold[0]))


@pytest.mark.parametrize("seed", range(8))
def test_folds_are_those_of_scikit_learn(seed: int) -> None:
    _, labels = drawn(seed)
    folds = shallow_tree.stratified(labels, 5, seed)
    for number, (_, test) in enumerate(StratifiedKFold(5, shuffle=True, random_state=seed).split(labels, labels)):
        assert np.flatnonzero(folds == number).tolist() == test.tolist()


def test_what_cannot_be_parted_is_a_leaf() -> None:
    labels = np.array([0, 0, 1, 1, 1])
    assert shallow_tree.fit(np.zeros((5, 2)), labels, 3).split is None
    assert shallow_tree.fit(np.arange(5.0)[:, None], np.zeros(5, int), 3).split is None
    assert shallow_tree.fit(np.arange(3.0)[:, None], labels[1:4], 3).split is None  # no two leaves of two images
