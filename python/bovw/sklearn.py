"""Bag-of-patches vectors in scikit-learn: a transformer for pipelines and searches."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from joblib import effective_n_jobs
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_array, check_is_fitted, check_random_state, validate_data

from ._featurizer import Featurizer
from ._learn import Learner

__all__ = ["BagOfPatches"]

MAX_SEED = 2**31 - 1


class BagOfPatches(TransformerMixin, BaseEstimator):
    """Learns words of image patches, and makes of each image the vector of its words.

    ``fit`` of all images at once and ``partial_fit`` of them in pieces, in the same order, give the same words: the
    sample of patches is the same, and words are learned of it when they are first needed. Once they are, a pickle
    has the words and not the sample, so that it stays small; images can then be added only to the original.

    Parameters
    ----------
    n_words : int, default=50
        Words of a vocabulary.
    patch_size : int or (height, width), default=6
        Pixels of a patch.
    image_shape : (height, width) or (height, width, channels), optional
        Shape of the images in flat rows ``(n, height * width * channels)``. Without it flat rows are square images,
        or, where that is not possible, a single row of pixels. Arrays ``(n, height, width[, channels])`` need none.
    stride : int, default=1
        Pixels from one patch to the next.
    normalize : {"image", "patch", "none"}, default="image"
        How patches are scaled.
    whiten : {"zca"}, optional
        Whether patches are whitened.
    per_image : int or float, optional
        Patches of an image that words are learned from: a number, or a share of them.
    max_patches : int, optional
        Patches that words are learned from, at most.
    encoding : {"hard", "triangle", "soft", "vlad"}, default="hard"
        What a patch adds to the words.
    nearest : int, optional
        Words that share a patch, with ``encoding="soft"``.
    pooling : (rows, columns) or a list of them, default=(1, 1)
        Grids of cells; the vector is grid by grid, cell by cell, word by word.
    weighting : str or list of str, default="count"
        "count", "frequency", "hellinger", "l2", "intra". ("tf-idf" takes a second look at the images: see
        :func:`bovw.learn`.)
    color : {"grey", "rgb", "auto"}, default="grey"
        What of an image's colour is looked at.
    algorithm : {"mini-batch", "lloyd"}, default="mini-batch"
        k-means.
    n_init : int, optional
        Restarts of k-means.
    max_iter : int, optional
        Passes over the sample, at most.
    random_state : int, RandomState or None, default=0
        Seed of every draw; with an integer results are the same bytes everywhere.
    n_jobs : int, optional
        Threads, as everywhere in scikit-learn: None is 1, -1 is all cores.

    Attributes
    ----------
    vocabulary_ : bovw.Vocabulary
        The words.
    n_features_in_ : int
        Values of an image.
    n_iter_ : int
        Steps of k-means.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from bovw.sklearn import BagOfPatches
    >>> images = load_digits().images.astype("uint8")
    >>> BagOfPatches(n_words=20, patch_size=3).fit_transform(images).shape
    (1797, 20)
    """

    def __init__(
        self,
        n_words: int = 50,
        patch_size: Any = 6,
        *,
        image_shape: Any = None,
        stride: int = 1,
        normalize: str = "image",
        whiten: str | None = None,
        per_image: float | None = None,
        max_patches: int | None = None,
        encoding: str = "hard",
        nearest: int | None = None,
        pooling: Any = (1, 1),
        weighting: Any = "count",
        color: str = "grey",
        algorithm: str = "mini-batch",
        n_init: int | None = None,
        max_iter: int | None = None,
        random_state: Any = 0,
        n_jobs: int | None = None,
    ) -> None:
        self.n_words = n_words
        self.patch_size = patch_size
        self.image_shape = image_shape
        self.stride = stride
        self.normalize = normalize
        self.whiten = whiten
        self.per_image = per_image
        self.max_patches = max_patches
        self.encoding = encoding
        self.nearest = nearest
        self.pooling = pooling
        self.weighting = weighting
        self.color = color
        self.algorithm = algorithm
        self.n_init = n_init
        self.max_iter = max_iter
        self.random_state = random_state
        self.n_jobs = n_jobs

    def fit(self, X: Any, y: Any = None) -> BagOfPatches:
        """Learns words of images.

        Parameters
        ----------
        X : array ``(n, height, width[, channels])`` or flat rows ``(n, n_values)``
        y : ignored
        """
        images = self._images(X, reset=True)
        learner = self._new_learner()
        learner.add(images)
        words = learner.learn()
        self._learner, self._featurizer = learner, None
        self._use(words)
        return self

    def partial_fit(self, X: Any, y: Any = None) -> BagOfPatches:
        """Draws patches of more images; words are learned of all that were drawn when they are next needed."""
        is_first = not self.__sklearn_is_fitted__()
        if not is_first and self._learner is None:
            raise ValueError(
                "this transformer was pickled with its words and without its sample, so no images can be added: "
                "fit another one, or pickle before words are learned"
            )
        images = self._images(X, reset=is_first)
        learner = self._new_learner() if is_first else self._learner
        learner.add(images)
        self._learner, self._featurizer = learner, None
        return self

    def transform(self, X: Any) -> np.ndarray:
        """The vectors of images, ``(n, n_features_out)``, float32."""
        check_is_fitted(self)
        images = self._images(X, reset=False)
        return self._learned().transform(images)

    @property
    def vocabulary_(self) -> Any:
        """The words."""
        check_is_fitted(self)
        return self._learned().vocabularies[0]

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """A name for each value of a vector: its word, and its cell where there are several."""
        check_is_fitted(self)
        featurizer = self._learned()
        n_values, k = featurizer.n_values, featurizer.vocabularies[0].k
        if featurizer.settings["features"]["encoding"] == "vlad":
            return np.asarray([f"value{at}" for at in range(n_values)], dtype=object)
        if n_values == k:
            return np.asarray([f"word{word}" for word in range(k)], dtype=object)
        return np.asarray([f"cell{at // k}_word{at % k}" for at in range(n_values)], dtype=object)

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "_learner")

    def __getstate__(self) -> dict:
        state = super().__getstate__()
        return state | {"_learner": None} if state.get("_featurizer") else state

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = True
        tags.input_tags.three_d_array = True
        # Vectors are float32, whatever images are.
        tags.transformer_tags.preserves_dtype = []
        return tags

    @property
    def _n_features_out(self) -> int:
        return self._learned().n_values

    def _learned(self) -> Featurizer:
        if self._featurizer is None:
            self._use(self._learner.learn())
        return self._featurizer

    def _use(self, words: Any) -> None:
        self._featurizer = Featurizer(words, threads=effective_n_jobs(self.n_jobs))
        self.n_iter_ = self._learner.n_steps[0]

    def _new_learner(self) -> Learner:
        if np.ndim(self.patch_size) > 1:
            raise ValueError(
                f"patch_size={self.patch_size} is not one size: take a transformer for each, in a FeatureUnion"
            )
        if "tf-idf" in ([self.weighting] if isinstance(self.weighting, str) else self.weighting):
            raise ValueError('weighting="tf-idf" takes a second look at the images; see bovw.learn')
        return Learner(
            k=self.n_words,
            patch=self.patch_size,
            stride=self.stride,
            normalize=self.normalize,
            whiten=self.whiten,
            per_image=self.per_image,
            max_patches=self.max_patches,
            encoding=self.encoding,
            nearest=self.nearest,
            pooling=self.pooling,
            weighting=self.weighting,
            color=self.color,
            algorithm=self.algorithm,
            n_init=self.n_init,
            max_iter=self.max_iter,
            seed=self._seed(),
            threads=effective_n_jobs(self.n_jobs),
        )

    def _seed(self) -> int:
        if isinstance(self.random_state, (int, np.integer)):
            return int(self.random_state)
        return int(check_random_state(self.random_state).randint(MAX_SEED))

    def _images(self, X: Any, *, reset: bool) -> np.ndarray:
        """Images ``(n, height, width[, channels])``."""
        dtype = None if getattr(X, "dtype", None) == np.uint8 else "numeric"
        if getattr(X, "ndim", None) not in (3, 4):
            X = validate_data(self, X, reset=reset, dtype=dtype)
            return X.reshape(len(X), *self._shape(X.shape[1]))
        X = check_array(X, dtype=dtype, allow_nd=True, ensure_2d=False)
        # What scikit-learn looks at in flat rows.
        validate_data(self, X.reshape(len(X), -1), reset=reset, skip_check_array=True)
        return X

    def _shape(self, n_values: int) -> tuple[int, ...]:
        if self.image_shape is not None:
            if np.ndim(self.image_shape) != 1:
                raise ValueError(
                    f"image_shape={self.image_shape!r} is not (height, width) or (height, width, channels)"
                )
            if math.prod(self.image_shape) != n_values:
                raise ValueError(
                    f"image_shape={self.image_shape} has {math.prod(self.image_shape)} values, rows have {n_values}"
                )
            return tuple(self.image_shape)
        side = math.isqrt(n_values)
        return (side, side) if side * side == n_values else (1, n_values)
