"""``BagOfPatches`` is an estimator of scikit-learn as any other, and its words are those of ``bovw``."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import check_estimator

import bovw
from bovw.sklearn import BagOfPatches

# What scikit-learn's own checks ask of any transformer, and images cannot give.
EXCEPTIONS = {
    "check_fit2d_1feature": "an image of one pixel, scaled by its own mean and deviation, is zero: all patches are the"
    " same, so two words cannot be learned, and the exception says that in the library's words",
}


def test_scikit_learn_s_own_checks_pass():
    estimator = BagOfPatches(n_words=2, patch_size=1, n_init=1)
    results = check_estimator(estimator, expected_failed_checks=EXCEPTIONS, on_fail=None)
    failed = {r["check_name"]: r["exception"] for r in results if r["status"] == "failed"}
    assert failed == {}
    unexpected = {r["check_name"] for r in results if r["status"] == "xfail"}
    assert unexpected == set(EXCEPTIONS)
    assert sum(r["status"] == "passed" for r in results) > 40


@pytest.fixture(scope="module")
def fitted(digits):
    return BagOfPatches(n_words=32, patch_size=3, per_image=0.75, n_init=3).fit(digits.images)


def test_words_and_vectors_are_those_of_the_run(digits, fitted):
    assert np.array_equal(fitted.vocabulary_.words, digits.run.vocabulary.words)
    assert np.array_equal(fitted.transform(digits.images), digits.vectors)
    assert fitted.n_features_in_ == 64
    assert fitted.n_iter_ >= 1


def test_flat_rows_are_square_images_or_of_the_shape_that_is_given(digits, fitted):
    flat = digits.images.reshape(len(digits.images), -1)
    square = clone(fitted).fit(flat)
    assert np.array_equal(square.transform(flat), digits.vectors)
    assert np.array_equal(square.transform(flat.astype(float)), digits.vectors)
    half = clone(fitted).set_params(image_shape=(4, 16), patch_size=(3, 4)).fit(flat)
    assert half.vocabulary_.patch == (3, 4)
    with pytest.raises(ValueError, match="image_shape"):
        clone(fitted).set_params(image_shape=(3, 3)).fit(flat)


def test_fitting_in_pieces_gives_the_words_of_the_whole(digits, fitted):
    pieces = clone(fitted)
    for start in range(0, len(digits.images), 250):
        pieces.partial_fit(digits.images[start : start + 250])
    assert pieces.vocabulary_ == fitted.vocabulary_
    # And goes on, somewhere else.
    half = pickle.loads(pickle.dumps(clone(fitted).partial_fit(digits.images[:800])))
    assert half.partial_fit(digits.images[800:]).vocabulary_ == fitted.vocabulary_
    learned = pickle.dumps(pieces)
    assert len(learned) < 50_000, "words, and no sample"
    with pytest.raises(ValueError, match="without its sample"):
        pickle.loads(learned).partial_fit(digits.images[:50])
    pieces.partial_fit(digits.images[:50])
    assert pieces.vocabulary_ != fitted.vocabulary_


def test_a_pipeline_classifies_and_survives_pickling(digits):
    half = len(digits.images) // 2
    pipeline = make_pipeline(
        BagOfPatches(n_words=64, patch_size=4, pooling=(2, 2), weighting="hellinger"),
        StandardScaler(),
        LogisticRegression(max_iter=1000),
    )
    pipeline.fit(digits.images[:half], digits.labels[:half])
    score = pipeline.score(digits.images[half:], digits.labels[half:])
    assert score > 0.9
    again = pickle.loads(pickle.dumps(pipeline))
    assert again.score(digits.images[half:], digits.labels[half:]) == score


def test_a_search_goes_over_its_parameters(digits):
    pipeline = make_pipeline(BagOfPatches(n_init=1), LogisticRegression(max_iter=200))
    grid = {"bagofpatches__n_words": [4, 32], "bagofpatches__patch_size": [3, (3, 5)]}
    search = GridSearchCV(pipeline, grid, cv=2, n_jobs=2).fit(digits.images[:400], digits.labels[:400])
    assert search.best_params_["bagofpatches__n_words"] == 32


def test_values_have_names(fitted, digits):
    assert fitted.get_feature_names_out()[:2].tolist() == ["word0", "word1"]
    assert clone(fitted).fit(digits.images[:50]).set_params(n_words=8).get_feature_names_out()[-1] == "word31"
    cells = clone(fitted).set_params(pooling=(2, 2), n_init=1).fit(digits.images[:100])
    assert cells.get_feature_names_out()[[0, 33]].tolist() == ["cell0_word0", "cell1_word1"]
    frame = cells.set_output(transform="pandas").transform(digits.images[:5])
    assert frame.shape == (5, 128)
    assert frame.columns[0] == "cell0_word0"


def test_bad_input_is_a_value_error_or_says_that_it_is_not_fitted(digits, fitted):
    with pytest.raises(NotFittedError):
        BagOfPatches().transform(digits.images)
    with pytest.raises(NotFittedError):
        BagOfPatches().vocabulary_  # noqa: B018
    with pytest.raises(ValueError, match="64 features"):
        fitted.transform(digits.images[:, :7])
    with pytest.raises(ValueError, match="NaN"):
        fitted.transform(np.full((1, 8, 8), np.nan))
    with pytest.raises(ValueError, match="too few for a 9x9 patch"):
        BagOfPatches(patch_size=9).fit(digits.images)
    with pytest.raises(bovw.JobError, match='did you mean "triangle"'):
        BagOfPatches(patch_size=3, encoding="trangle").fit(digits.images)
    with pytest.raises(ValueError, match="not one size"):
        BagOfPatches(patch_size=[[3, 3], [4, 4]]).fit(digits.images)
    with pytest.raises(ValueError, match="tf-idf"):
        BagOfPatches(patch_size=3, weighting="tf-idf").fit(digits.images)
    with pytest.raises(ValueError, match="image_shape=8"):
        BagOfPatches(patch_size=3, image_shape=8).fit(digits.images.reshape(len(digits.images), -1))
    failed = BagOfPatches(n_words=10**6, patch_size=3)
    with pytest.raises(bovw.JobError):
        failed.fit(digits.images)
    with pytest.raises(NotFittedError):
        failed.transform(digits.images)
    with pytest.raises(ValueError, match="sampled patches"):
        BagOfPatches(n_words=10**6, patch_size=3).fit(digits.images)


def test_a_seed_of_any_kind_is_taken(digits):
    seeds = [3, np.int64(3), np.random.RandomState(5), None]
    for seed in seeds:
        BagOfPatches(n_words=4, patch_size=3, n_init=1, random_state=seed).fit(digits.images[:50])
