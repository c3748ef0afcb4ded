"""Image collections of any size in, bag-of-patches vectors out."""

from . import tasks
from ._bovw import Batch, Stream, Vocabulary, __version__
from ._errors import (
    BadImageError,
    BovwError,
    DataError,
    FileError,
    JobError,
    OtherJobError,
    TooManyBadError,
)
from ._featurizer import Featurizer
from ._learn import Learner, learn
from ._run import Run, run

__all__ = [
    "BadImageError",
    "Batch",
    "BovwError",
    "DataError",
    "Featurizer",
    "FileError",
    "JobError",
    "Learner",
    "OtherJobError",
    "Run",
    "Stream",
    "TooManyBadError",
    "Vocabulary",
    "__version__",
    "learn",
    "run",
    "tasks",
]
