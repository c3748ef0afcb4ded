"""Arrays and lists of images become the vectors that ``bovw run`` writes, however they lie in memory."""

from __future__ import annotations

import io
import pickle
import threading
import time

import numpy as np
import pytest
from PIL import Image

import bovw


@pytest.fixture(scope="module")
def featurizer(digits):
    return bovw.Featurizer(digits.run.vocabulary)


def test_an_array_of_bytes_gives_the_vectors_of_the_run(digits, featurizer):
    vectors = featurizer.transform(digits.images)
    assert vectors.dtype == np.float32
    assert vectors.shape == (len(digits.images), featurizer.n_values)
    assert np.array_equal(vectors, digits.vectors)


@pytest.mark.parametrize(
    "change",
    [
        lambda x: x.astype(np.float64),
        lambda x: x.astype(np.float32),
        lambda x: x.astype(np.int64),
        lambda x: x.astype(">u2"),
        lambda x: x[..., np.newaxis],
        lambda x: x[:, np.newaxis],
        lambda x: np.asfortranarray(x),
        lambda x: np.repeat(x, 2, axis=2)[:, :, ::2],
        lambda x: x[::-1][::-1],
        lambda x: x.tolist() and list(x),
        lambda x: [image.astype(float) for image in x],
        lambda x: iter(x),
        lambda x: np.array([None, *x], dtype=object)[1:],
        lambda x: [Image.fromarray(image) for image in x],
        lambda x: [memoryview(png(image)) for image in x],
    ],
)
def test_images_in_any_form_give_the_same_vectors(digits, featurizer, change):
    images = digits.images[:60]
    assert np.array_equal(featurizer.transform(change(images)), digits.vectors[:60])


def png(image: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(image).save(file, "png")
    return file.getvalue()


def test_encoded_images_and_paths_are_read(digits, featurizer, tmp_path):
    (tmp_path / "a.png").write_bytes(png(digits.images[1]))
    vectors = featurizer.transform([png(digits.images[0]), tmp_path / "a.png", str(tmp_path / "a.png")])
    assert np.array_equal(vectors, digits.vectors[[0, 1, 1]])


def test_an_array_is_not_copied(digits, featurizer):
    from bovw._images import as_list_or_array

    array = as_list_or_array(digits.images)
    assert np.shares_memory(array, digits.images)


def test_images_of_different_sizes_go_together(digits, featurizer):
    large = np.pad(digits.images[5], 4)
    vectors, n_patches, status = featurizer.transform_with_status([digits.images[0], large])
    assert np.array_equal(vectors[0], digits.vectors[0])
    assert n_patches.tolist() == [36, 14 * 14]
    assert vectors.sum(axis=1).tolist() == [36, 14 * 14]
    assert status == [None, None]


def test_no_images_give_no_vectors(featurizer):
    assert featurizer.transform([]).shape == (0, featurizer.n_values)
    assert featurizer.transform(np.zeros((0, 8, 8), np.uint8)).shape == (0, featurizer.n_values)


def test_a_bad_image_is_an_exception_or_a_row_of_zeros(digits, featurizer):
    images = [digits.images[0], None, b"no image", digits.images[0][:2], np.full((8, 8), np.nan)]
    with pytest.raises(bovw.BadImageError, match=r"row 1.*None"):
        featurizer.transform(images)
    lenient = bovw.Featurizer(digits.run.vocabulary, on_bad_image="zero")
    vectors, n_patches, status = lenient.transform_with_status(images)
    assert np.array_equal(vectors[0], digits.vectors[0])
    assert not vectors[1:].any()
    assert n_patches.tolist() == [36, 0, 0, 0, 0]
    assert status[0] is None
    assert "None" in status[1]
    assert "format" in status[2]
    assert "too few" in status[3]
    assert "NaN" in status[4]


@pytest.mark.parametrize(
    ("images", "error", "told"),
    [
        (np.zeros((8, 8), np.uint8), ValueError, r"images\[None\]"),
        (np.zeros(8, np.uint8), ValueError, "reshape"),
        (np.zeros((2, 8, 8, 7), np.uint8), ValueError, "1 to 4 channels"),
        (np.zeros((2, 0, 8), np.uint8), ValueError, "no shape"),
        (np.zeros((2, 8, 8), complex), TypeError, "complex128"),
        (np.array([["a"]]), ValueError, "shape"),
        (b"png", TypeError, "put it into a list"),
        ("photo.png", TypeError, "put it into a list"),
        ([3.5], TypeError, "image 0 is float"),
        (["/no/such/file.png"], OSError, "No such file"),
        (7, ValueError, "shape"),
        ({"a": 1}, TypeError, "a mapping"),
    ],
)
def test_what_are_no_images_is_told_with_what_to_do(featurizer, images, error, told):
    with pytest.raises(error, match=told):
        featurizer.transform(images)


def test_settings_that_cannot_work_are_refused_with_the_library_s_message(digits):
    words = digits.run.vocabulary
    with pytest.raises(bovw.JobError, match='did you mean "triangle"'):
        bovw.Featurizer(words, encoding="trianle")
    with pytest.raises(bovw.JobError, match="features.pooling"):
        bovw.Featurizer(words, pooling=[0, 1])
    with pytest.raises(bovw.JobError, match="patches.normalize|input.color"):
        bovw.Featurizer(words, color="rgb")
    with pytest.raises(bovw.JobError, match="tf-idf"):
        bovw.Featurizer(words, weighting="tf-idf")
    with pytest.raises(bovw.JobError, match="sizes of patches|patches.size"):
        bovw.Featurizer([words, words])
    with pytest.raises(bovw.JobError, match="fewer vectors"):
        bovw.Featurizer(words, on_bad_image="drop").transform(digits.images[:3])
    with pytest.raises(bovw.FileError, match="cannot open"):
        bovw.Featurizer("no-such-vocabulary.parquet")
    with pytest.raises(bovw.JobError, match="run.threads: -1"):
        bovw.Featurizer(words, threads=-1)
    with pytest.raises(bovw.DataError, match="😀"):
        bovw.Featurizer(words, image="😀").transform(digits.table.to_batches()[0])
    with pytest.raises(TypeError):
        bovw.Featurizer(words, no_such_setting=1)


def test_vectors_that_no_memory_holds_are_an_exception(digits):
    featurizer = bovw.Featurizer(digits.run.vocabulary, pooling=[[64, 64]] * 8)
    with pytest.raises(bovw.DataError, match="there is no memory for 1000000 vectors"):
        featurizer(np.zeros((1_000_000, 8, 8), np.uint8))


def test_a_featurizer_is_the_same_after_pickling(digits):
    featurizer = bovw.Featurizer(digits.run.vocabulary, pooling=[2, 2], weighting=["hellinger", "l2"], threads=1)
    again = pickle.loads(pickle.dumps(featurizer))
    assert again.settings == featurizer.settings
    assert np.array_equal(again(digits.images), featurizer(digits.images))


def test_any_number_of_threads_gives_the_same_vectors(digits):
    for encoding in ("hard", "triangle"):
        vectors = [
            bovw.Featurizer(digits.run.vocabulary, encoding=encoding, threads=threads)(digits.images)
            for threads in (1, 2, 7)
        ]
        assert np.array_equal(vectors[0], vectors[1])
        assert np.array_equal(vectors[0], vectors[2])


def test_four_threads_of_python_share_a_featurizer(digits):
    featurizer = bovw.Featurizer(digits.run.vocabulary, threads=1)
    wrong = []

    def work(start: int) -> None:
        for at in range(start, len(digits.images), 40):
            vectors = featurizer(digits.images[at : at + 10])
            if not np.array_equal(vectors, digits.vectors[at : at + 10]):
                wrong.append(at)

    threads = [threading.Thread(target=work, args=(start,)) for start in (0, 10, 20, 30)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_the_interpreter_is_free_while_images_are_worked_on(digits):
    featurizer = bovw.Featurizer(digits.run.vocabulary, encoding="triangle", threads=1)
    images = np.tile(digits.images, (40, 1, 1))
    ticks = []
    done = threading.Event()

    def tick() -> None:
        while not done.is_set():
            ticks.append(time.perf_counter())
            time.sleep(0.001)

    ticker = threading.Thread(target=tick)
    ticker.start()
    start = time.perf_counter()
    featurizer(images)
    end = time.perf_counter()
    done.set()
    ticker.join()
    within = [moment for moment in ticks if start < moment < end]
    assert len(within) > 20 * (end - start), "the other thread stood still"


def test_ctrl_c_ends_a_long_call(python):
    out = python(INTERRUPTED)
    assert out == "interrupted\n"


INTERRUPTED = """
import os, signal, threading
import bovw, numpy as np

images = np.random.default_rng(0).integers(0, 256, (300, 28, 28), dtype=np.uint8)
words = bovw.learn(images, k=500, patch=6, n_init=1, max_iter=1)
featurizer = bovw.Featurizer(words, encoding="triangle", threads=1)
many = np.tile(images, (400, 1, 1))
threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start()
try:
    featurizer(many)
    print("it ended by itself")
except KeyboardInterrupt:
    print("interrupted")
"""


@pytest.mark.parametrize("mode", ["1", "P", "L", "LA", "RGB", "RGBA", "CMYK", "HSV", "YCbCr", "I", "I;16", "F"])
def test_a_picture_of_pillow_is_what_its_file_is(digits, mode):
    grey = Image.fromarray((digits.images[7] * 15).astype(np.uint8))
    picture = Image.new("I;16", (8, 8)) if mode == "I;16" else grey.convert(mode)
    if mode == "I;16":
        picture.putdata([257 * int(value) for value in np.asarray(grey).ravel()])
    if mode == "P":
        picture.putpalette([255 - value // 3 for value in range(768)])
    expected = picture.convert("RGB") if mode in ("CMYK", "HSV", "YCbCr") else picture
    featurizer = bovw.Featurizer(digits.run.vocabulary)
    # Pillow has no PNG of these two.
    same = np.asarray(grey) if mode in ("I", "F") else saved(expected)
    assert np.array_equal(featurizer([picture]), featurizer([same]))


def saved(picture: Image.Image) -> bytes:
    file = io.BytesIO()
    picture.save(file, "png")
    return file.getvalue()
