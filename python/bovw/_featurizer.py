"""Images to vectors, with finished words."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from . import _bovw
from ._errors import JobError
from ._images import as_list_or_array, is_arrow
from ._settings import settings as settings_of
from ._settings import threads_of


class Featurizer:
    """Makes bag-of-patches vectors of images, as ``bovw run`` does, with finished words.

    Whatever is left out is as in the job that the words were learned by. A featurizer may be used by any number of
    threads at once, and pickled; the interpreter is free while it works.

    Parameters
    ----------
    vocabulary : Vocabulary, path, or a list of them
        The words; a list where there is one vocabulary for each size of patches.
    encoding : {"hard", "triangle", "soft", "vlad"}, optional
        What a patch adds to the words.
    nearest : int, optional
        Words that share a patch, with ``encoding="soft"``.
    pooling : [rows, columns] or a list of them, optional
        Grids of cells; the vector is grid by grid, cell by cell, word by word.
    weighting : str or list of str, optional
        "count", "frequency", "hellinger", "l2", "tf-idf", "intra".
    stride : int, optional
        Pixels from one patch to the next.
    color : {"grey", "rgb"}, optional
        Must be what the words are of.
    resize : int, optional
        Longest side in pixels; larger images are made smaller.
    image : str, optional
        Column of the images in Arrow data; found if left out.
    shape : [height, width] or [height, width, channels], optional
        Shape of raw pixels in Arrow data.
    on_bad_image : {"fail", "zero", "drop"}
        What becomes of an image that cannot be used: an exception, a row of zeros, or no row (Arrow data only).
    threads : int, optional
        Threads of a call; all cores if left out.
    """

    def __init__(
        self,
        vocabulary: Any,
        *,
        encoding: str | None = None,
        nearest: int | None = None,
        pooling: Sequence | None = None,
        weighting: str | Sequence[str] | None = None,
        stride: int | None = None,
        color: str | None = None,
        resize: int | None = None,
        image: str | None = None,
        shape: Sequence[int] | None = None,
        on_bad_image: str = "fail",
        threads: int | None = None,
    ) -> None:
        self._arguments = {name: value for name, value in locals().items() if name not in ("self", "vocabulary")}
        several = vocabulary if isinstance(vocabulary, (list, tuple)) else [vocabulary]
        self.vocabularies: list[_bovw.Vocabulary] = [_loaded(one) for one in several]
        given = {name: value for name, value in self._arguments.items() if name != "threads"}
        self._native = _bovw.Featurizer(self.vocabularies, settings_of(given), threads_of(threads))

    @property
    def n_values(self) -> int:
        """Length of a vector."""
        return self._native.n_values

    @property
    def settings(self) -> dict:
        """All settings, table by table, as in a job file."""
        return json.loads(self._native.settings_json)

    def transform(self, images: Any, *, layout: str = "fixed_size_list") -> Any:
        """Vectors of images.

        Parameters
        ----------
        images : array, list, or Arrow data
            - an array ``(n, height, width)`` or ``(n, height, width, channels)``, or with channels first as torch has
              them; uint8 is not copied, other numbers become float32;
            - a list of arrays of any sizes, of bytes of image files, paths (which must be there), pictures of Pillow,
              and ``None``;
            - whatever exports Arrow data (pyarrow, polars, pandas, DuckDB, arro3): a batch, a table, a stream.
        layout : {"fixed_size_list", "list"}
            Type of the vectors in Arrow data; Spark takes lists alone.

        Returns
        -------
        ndarray of float32, ``(n, n_values)``, for arrays and lists; a :class:`Batch` for a batch of Arrow data and a
        :class:`Stream`, made as it is read, for tables and streams: all other columns, ``features``, ``n_patches``, and
        ``status`` with ``on_bad_image="zero"``.
        """
        if is_arrow(images):
            if layout not in ("fixed_size_list", "list"):
                raise JobError(f'layout: "{layout}" is not known\n  help: choose "fixed_size_list" or "list"')
            return self._native.arrow(images, layout == "list")
        return self.transform_with_status(images)[0]

    __call__ = transform

    def transform_with_status(self, images: Any) -> tuple[np.ndarray, np.ndarray, list[str | None]]:
        """Vectors of an array or a list of images, the patches that each was made of, and why some are zeros."""
        if self._arguments["on_bad_image"] == "drop":
            raise JobError(
                'input.on_bad_image: "drop" would leave fewer vectors than images\n'
                '  help: take "zero" and look at transform_with_status, or give Arrow data'
            )
        images = as_list_or_array(images)
        if isinstance(images, np.ndarray):
            return self._native.dense(images)
        return self._native.listed(images)

    def __reduce__(self) -> tuple:
        return _restored, (self.vocabularies, self._arguments)

    def __repr__(self) -> str:
        features = self.settings["features"]
        return f"bovw.Featurizer({self.n_values} values, {features['encoding']}, {self.vocabularies})"


def _loaded(vocabulary: Any) -> _bovw.Vocabulary:
    if isinstance(vocabulary, _bovw.Vocabulary):
        return vocabulary
    return _bovw.Vocabulary.load(vocabulary)


def _restored(vocabularies: list, arguments: dict) -> Featurizer:
    return Featurizer(vocabularies, **arguments)
