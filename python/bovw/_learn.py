"""Words from images: in one call, or from samples drawn in many places."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from . import _bovw
from ._errors import JobError
from ._images import as_list_or_array, is_arrow
from ._run import Progress, shown
from ._settings import memory_of, rows_of, settings, threads_of

Words = _bovw.Vocabulary | list[_bovw.Vocabulary]


class Learner:
    """Draws a sample of patches from images that come in any number of calls, and learns words of it.

    An image is known by a number, and which of its patches are drawn depends on that number and the seed alone.
    So samples can be drawn in many places, travel as sketches, and be merged in any order: the words are the same, and
    with the numbers of rows they are those that ``bovw run`` learns. A learner can be pickled.

    Parameters
    ----------
    k : int
        Number of words.
    patch : int, [height, width] or a list of [height, width]
        Size of a patch in pixels; several sizes give a vocabulary each.
    stride, normalize, epsilon, whiten, whiten_epsilon : optional
        How patches are cut and prepared, as in ``[patches]`` of a job file.
    per_image : int or float, optional
        Patches of an image that are drawn: a number, or a share of them.
    every : int, optional
        Of so many images one is looked at.
    max_patches : int, optional
        At most so many patches in all. It bounds a sketch.
    algorithm, init, n_init, max_iter, batch_size, tol, spherical : optional
        k-means, as in ``[vocabulary]`` of a job file.
    encoding, nearest, pooling, weighting : optional
        What vectors will be made with these words, unless a featurizer is told otherwise.
    color, resize, image, shape, max_pixels : optional
        How images are read, as in ``[input]`` of a job file.
    on_bad_image : {"fail", "zero", "drop"}
        Whether an image that cannot be used is an exception or is passed over.
    seed : int, optional
    threads : int, optional
        All cores if left out.
    memory : str, optional
        Such as "512MiB": what of the sample is larger goes to temporary files.

    Attributes
    ----------
    n_steps : list of int
        Steps of k-means that the last words took, for each size of patches.
    """

    def __init__(
        self,
        *,
        k: int,
        patch: int | Sequence,
        stride: int | None = None,
        normalize: str | None = None,
        epsilon: float | None = None,
        whiten: str | None = None,
        whiten_epsilon: float | None = None,
        per_image: float | None = None,
        every: int | None = None,
        max_patches: int | None = None,
        algorithm: str | None = None,
        init: str | None = None,
        n_init: int | None = None,
        max_iter: int | None = None,
        batch_size: int | None = None,
        tol: float | None = None,
        spherical: bool | None = None,
        encoding: str | None = None,
        nearest: int | None = None,
        pooling: Sequence | None = None,
        weighting: str | Sequence[str] | None = None,
        color: str | None = None,
        resize: int | None = None,
        image: str | None = None,
        shape: Sequence[int] | None = None,
        max_pixels: int | None = None,
        on_bad_image: str = "fail",
        seed: int | None = None,
        threads: int | None = None,
        memory: str | None = None,
    ) -> None:
        self._arguments = {name: value for name, value in locals().items() if name != "self"}
        given = {name: value for name, value in self._arguments.items() if name not in ("threads", "memory")}
        self._native = _bovw.Learner(settings(given), threads_of(threads), memory_of(memory))

    def add(self, images: Any, rows: str | Sequence[int] | None = None) -> Learner:
        """Draws patches of images. A call that failed can be made again: what it took is not taken twice.

        Parameters
        ----------
        images : array, list, or Arrow data
            As :meth:`Featurizer.transform` takes them.
        rows : str or sequence of int, optional
            The number of each image: a column of Arrow data, or numbers. Without them the images of arrays and lists
            are counted, over all calls; those of Arrow data, whose order nobody vouches for, are numbered by their
            pixels.

        Returns
        -------
        Learner
            This one.
        """
        if is_arrow(images):
            if rows is not None and not isinstance(rows, str):
                raise TypeError("rows names a column of Arrow data")
            self._native.arrow(images, rows)
            return self
        if isinstance(rows, str):
            raise TypeError("rows names a column of Arrow data; for arrays and lists give the numbers themselves")
        self._add(as_list_or_array(images), rows_of(rows))
        return self

    def _add(self, images: Any, numbers: list[int] | None) -> None:
        if isinstance(images, np.ndarray):
            self._native.dense(images, numbers)
        else:
            self._native.listed(images, numbers)

    @property
    def n_patches(self) -> int:
        """Patches in the sample; in the end no more than ``max_patches`` of each size stay."""
        return self._native.n_patches

    @property
    def settings(self) -> dict:
        """All settings, table by table, as in a job file."""
        return json.loads(self._native.settings_json)

    def sketch(self) -> bytes:
        """The sample so far, to be merged elsewhere by a learner of the same settings."""
        return self._native.sketch()

    def merge(self, sketch: bytes) -> Learner:
        """Takes in a sketch, of :meth:`sketch` or of ``bovw stream``; images that were seen already are passed over."""
        self._native.merge(bytes(sketch))
        return self

    def learn(self, progress: Progress = None) -> Words:
        """Learns words of the sample so far; more images may come afterwards.

        Returns
        -------
        Vocabulary, or a list of them where there are several sizes of patches.
        """
        with shown(progress) as look:
            words, self.n_steps = self._native.learn(look)
        return _one_or_all(words)

    def __getstate__(self) -> tuple:
        # An "auto" that was decided stays so.
        decided = {"color": self.settings["input"]["color"]} if self.n_patches else {}
        return self._arguments | decided, self.sketch(), self._native.n_counted

    def __setstate__(self, state: tuple) -> None:
        arguments, sketch, n_counted = state
        self.__init__(**arguments)
        if arguments["color"] != "auto":
            self.merge(sketch)
        self._native.count_on_from(n_counted)


def learn(
    images: Any, *, progress: Progress = None, rows: str | Sequence[int] | None = None, **arguments: Any
) -> Words:
    """Learns words of images.

    Parameters
    ----------
    images : array, list, or Arrow data
        As :meth:`Featurizer.transform` takes them.
    rows : optional
        The numbers of the images, as :meth:`Learner.add` takes them.
    progress : bool or callable, optional
        As for :func:`run`.
    **arguments
        As for :class:`Learner`: ``k`` and ``patch`` at least.

    Returns
    -------
    Vocabulary, or a list of them where there are several sizes of patches. Of arrays and lists these are the words that
    ``bovw run`` learns of the same images in the same order.
    """
    learner = Learner(**arguments)
    if is_arrow(images):
        if learner._native.needs_documents:
            raise JobError(
                'features.weighting: "tf-idf" takes a second look at the images, and Arrow data may be read only once\n'
                "  help: give arrays or a list, or learn in a job"
            )
        return learner.add(images, rows).learn(progress)
    images = as_list_or_array(images)
    learner._add(images, rows_of(rows))
    words = learner.learn(progress)
    if not learner._native.needs_documents:
        return words
    several = words if isinstance(words, list) else [words]
    return _one_or_all(learner._native.with_documents(several, images))


def _one_or_all(vocabularies: list) -> Words:
    return vocabularies[0] if len(vocabularies) == 1 else vocabularies
