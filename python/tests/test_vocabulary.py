"""A vocabulary is its file: read, written, pickled and shown."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

import bovw


def test_words_are_numpy_arrays(digits):
    words = digits.run.vocabulary
    assert (words.k, len(words), words.patch, words.channels) == (32, 32, (3, 3), 1)
    assert words.words.shape == (32, 9)
    assert words.words.dtype == np.float32
    assert words.counts.sum() == 48_519
    assert np.isclose(words.inertia.sum() / words.counts.sum(), words.inertia_per_patch)
    assert repr(words) == "bovw.Vocabulary(32 words of grey 3x3 patches)"


def test_saving_and_pickling_keep_every_byte(digits, tmp_path):
    words = digits.run.vocabulary
    original = (digits.run.dir / "vocabulary.parquet").read_bytes()
    words.save(tmp_path / "words.parquet")
    assert (tmp_path / "words.parquet").read_bytes() == original
    assert words.to_bytes() == original
    for again in (
        pickle.loads(pickle.dumps(words)),
        bovw.Vocabulary.from_bytes(original),
        bovw.Vocabulary.load(tmp_path / "words.parquet"),
    ):
        assert again == words
        assert hash(again) == hash(words)


def test_words_cannot_be_changed_from_outside(digits):
    words = digits.run.vocabulary
    words.words[:] = 0
    assert words.words.any()


def test_a_notebook_shows_a_picture(digits):
    html = digits.run.vocabulary._repr_html_()
    assert "data:image/png;base64," in html
    assert "32 words of 48" in html


@pytest.mark.parametrize("damage", [b"", b"PAR1", b"x" * 100])
def test_bytes_that_are_no_vocabulary_are_refused(digits, damage, tmp_path):
    with pytest.raises(bovw.DataError, match="the vocabulary"):
        bovw.Vocabulary.from_bytes(damage)
    (tmp_path / "words.parquet").write_bytes(damage)
    with pytest.raises(bovw.DataError, match="words.parquet"):
        bovw.Vocabulary.load(tmp_path / "words.parquet")
    with pytest.raises(bovw.DataError, match="not a vocabulary"):
        bovw.Vocabulary.load(digits.run.features[0])


def test_a_vocabulary_that_is_cut_anywhere_is_refused(digits):
    data = digits.run.vocabulary.to_bytes()
    for end in range(0, len(data), 97):
        with pytest.raises(bovw.DataError):
            bovw.Vocabulary.from_bytes(data[:end])


def test_a_place_that_cannot_be_written_to_is_told(digits):
    with pytest.raises(bovw.FileError, match="no-such-folder"):
        digits.run.vocabulary.save("no-such-folder/words.parquet")
