"""What bovw raises. Messages are the library's: what is wrong, where, and what to do."""

from __future__ import annotations


class BovwError(Exception):
    """Whatever can go wrong in bovw; the others are kinds of it."""


class JobError(BovwError, ValueError):
    """A job or a setting that cannot work."""


class DataError(BovwError, ValueError):
    """Data that cannot be used: a damaged file, a column that is missing, no patches."""


class BadImageError(DataError):
    """An image that cannot be used, where bad images end the work (``on_bad_image="fail"``)."""


class TooManyBadError(BovwError):
    """A run is done, with more bad images than its job allows."""


class FileError(BovwError, OSError):
    """The system refused: a file or folder that cannot be read or written, a full disk."""


class OtherJobError(BovwError):
    """The output directory holds something that this job must not touch."""
