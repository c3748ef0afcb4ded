"""Words of images in memory are those of ``bovw run``, in one call or many, in one place or many."""

from __future__ import annotations

import pickle
import random

import numpy as np
import pyarrow as pa
import pytest

import bovw


def numbered(digits) -> pa.Table:
    return digits.table.append_column("row", pa.array(np.arange(len(digits.table))))


def test_one_call_gives_the_words_of_the_run(digits):
    words = bovw.learn(digits.images, **digits.arguments)
    expected = digits.run.vocabulary
    assert np.array_equal(words.words, expected.words)
    assert np.array_equal(words.counts, expected.counts)
    assert np.array_equal(words.inertia, expected.inertia)
    assert np.array_equal(bovw.Featurizer(words)(digits.images), digits.vectors)


@pytest.mark.parametrize("change", [list, lambda x: x.astype(float), lambda x: x[:, np.newaxis]])
def test_images_in_any_form_give_the_same_words(digits, change):
    words = bovw.learn(change(digits.images), **digits.arguments)
    assert np.array_equal(words.words, digits.run.vocabulary.words)


@pytest.mark.parametrize("max_patches", [None, 5000])
def test_pieces_give_the_words_of_the_whole(digits, max_patches):
    arguments = digits.arguments | {"max_patches": max_patches}
    expected = bovw.learn(digits.images, **arguments)
    learner = bovw.Learner(**arguments)
    for start in range(0, len(digits.images), 311):
        learner.add(digits.images[start : start + 311])
    assert learner.learn() == expected
    assert learner.n_steps[0] >= 1


@pytest.mark.parametrize("max_patches", [None, 5000])
def test_sketches_merge_in_any_order_and_any_number_of_times(digits, max_patches):
    arguments = digits.arguments | {"max_patches": max_patches}
    expected = bovw.learn(digits.images, **arguments)
    table = numbered(digits)
    sketches = []
    for start in range(0, len(table), 200):
        learner = bovw.Learner(**arguments)
        learner.add(table.slice(start, 200), rows="row")
        sketches.append(learner.sketch())
    sketches += sketches[:3]
    random.Random(1).shuffle(sketches)
    merged = bovw.Learner(**arguments)
    for sketch in sketches:
        merged.merge(sketch)
    assert merged.learn() == expected


def test_a_learner_goes_on_after_pickling(digits):
    expected = bovw.learn(digits.images, **digits.arguments)
    learner = bovw.Learner(**digits.arguments).add(digits.images[:900], rows=range(900))
    again = pickle.loads(pickle.dumps(learner))
    again.add(digits.images[900:], rows=range(900, len(digits.images)))
    assert again.learn() == expected
    counted = pickle.loads(pickle.dumps(bovw.Learner(**digits.arguments).add(digits.images[:900])))
    assert counted.add(digits.images[900:]).learn() == expected


def test_images_are_not_counted_beside_images_with_numbers(digits):
    learner = bovw.Learner(**digits.arguments).add(digits.images[:9], rows=range(9))
    with pytest.raises(bovw.JobError, match="give all images their numbers"):
        learner.add(digits.images[9:])


def test_without_numbers_the_order_of_arrow_data_does_not_matter(digits):
    backwards = digits.table.take(np.arange(len(digits.table))[::-1])
    twice = pa.concat_tables([backwards, digits.table])
    expected = bovw.learn(digits.table, **digits.arguments)
    assert bovw.learn(backwards, **digits.arguments) == expected
    assert bovw.learn(twice.to_reader(max_chunksize=77), **digits.arguments) == expected


def test_words_are_the_same_for_any_number_of_threads(digits):
    words = [bovw.learn(digits.images, **digits.arguments, threads=threads) for threads in (1, 2, 5)]
    assert words[0] == words[1] == words[2]


def test_several_sizes_give_a_vocabulary_each(digits):
    arguments = digits.arguments | {"patch": [[3, 3], [5, 5]]}
    several = bovw.learn(digits.images, **arguments)
    assert [words.patch for words in several] == [(3, 3), (5, 5)]
    vectors = bovw.Featurizer(several)(digits.images[:10])
    assert np.array_equal(vectors[:, :32], digits.vectors[:10])


def test_tf_idf_counts_the_images_of_each_word(digits):
    words = bovw.learn(digits.images, **digits.arguments, weighting=["tf-idf", "l2"])
    job = digits.run.dir.parent / "tf-idf"
    run = bovw.run(
        digits.job,
        set={"output.dir": str(job), "features.weighting": ["tf-idf", "l2"], "cluster": []},
    )
    from conftest import features_of

    assert np.array_equal(bovw.Featurizer(words)(digits.images), features_of(run.features))
    with pytest.raises(bovw.JobError, match="second look"):
        bovw.learn(digits.table, **digits.arguments, weighting="tf-idf")


def test_bad_input_is_told_with_what_to_do(digits):
    good = {"k": 4, "patch": 3}
    with pytest.raises(bovw.JobError, match="vocabulary.k"):
        bovw.learn(digits.images, k=0, patch=3)
    with pytest.raises(bovw.JobError, match="sampled patches"):
        bovw.learn(digits.images[:1], k=1000, patch=3)
    with pytest.raises(bovw.DataError, match="no patches"):
        bovw.learn([], **good)
    with pytest.raises(bovw.BadImageError, match="row 1.*None"):
        bovw.learn([digits.images[0], None], **good)
    with pytest.raises(bovw.BadImageError, match="too few"):
        bovw.learn(digits.images, k=4, patch=9)
    with pytest.raises(ValueError, match="2 numbers of rows"):
        bovw.Learner(**good).add(digits.images, rows=[1, 2])
    with pytest.raises(TypeError, match="names a column"):
        bovw.Learner(**good).add(digits.images, rows="row")
    with pytest.raises(bovw.DataError, match="missing"):
        bovw.Learner(**good).add(digits.table, rows="row")
    with pytest.raises(bovw.DataError, match="numbers of rows"):
        bovw.Learner(**good).add(digits.table, rows="image")
    with pytest.raises(TypeError, match="whole numbers"):
        bovw.Learner(**good).add(digits.images[:2], rows=[0.5, 0.7])
    with pytest.raises(TypeError, match="whole numbers"):
        bovw.Learner(**good).add(digits.images[:2], rows=[-1, 2])
    with pytest.raises(TypeError):
        bovw.learn(digits.images, k=4)


def test_counted_samples_are_not_merged_with_each_other(digits):
    first, second = (bovw.Learner(k=4, patch=3).add(some) for some in (digits.images[:9], digits.images[9:18]))
    with pytest.raises(bovw.JobError, match="give all images their numbers"):
        first.merge(second.sketch())


def test_a_colour_that_the_first_image_decides_goes_with_the_learner_and_not_with_sketches(digits):
    learner = bovw.Learner(**digits.arguments, color="auto").add(digits.images[:900])
    again = pickle.loads(pickle.dumps(learner))
    assert again.add(digits.images[900:]).learn().channels == 1
    with pytest.raises(bovw.JobError, match='set it to "grey" or "rgb"'):
        bovw.Learner(**digits.arguments, color="auto").merge(learner.sketch())


def test_a_progress_callback_may_look_at_the_learner(digits):
    learner = bovw.Learner(**digits.arguments | {"n_init": 30}).add(digits.images)
    told = []
    learner.learn(progress=lambda *_: told.append(learner.n_patches))
    assert set(told) == {learner.n_patches}


def test_a_sketch_that_is_damaged_or_of_other_settings_is_refused(digits):
    learner = bovw.Learner(k=4, patch=3).add(digits.images[:10])
    sketch = learner.sketch()
    for damaged in (b"", sketch[:50], sketch[:-3], b"x" * 200):
        with pytest.raises(bovw.DataError, match="the sketch"):
            bovw.Learner(k=4, patch=3).merge(damaged)
    with pytest.raises(bovw.DataError, match="other"):
        bovw.Learner(k=4, patch=3, seed=1).merge(sketch)


def test_ctrl_c_ends_learning(python):
    assert python(INTERRUPTED) == "interrupted\n"


INTERRUPTED = """
import os, signal, threading
import bovw, numpy as np

images = np.random.default_rng(0).integers(0, 256, (4000, 28, 28), dtype=np.uint8)
threading.Timer(1.0, os.kill, (os.getpid(), signal.SIGINT)).start()
try:
    bovw.learn(images, k=2000, patch=6, n_init=50, algorithm="lloyd", per_image=0.9)
    print("it ended by itself")
except KeyboardInterrupt:
    print("interrupted")
"""
