"""Errors and warnings.

.. code-block:: text

    GeofsrcnnError                     exit code of the command line
    ├── InternalError                  1   a defect of geofsrcnn
    ├── UsageError (ValueError)        2   an argument, an option or their combination is wrong
    │   └── ConfigError                2   a network or training configuration is wrong
    ├── InputError (ValueError)        3   the input is missing, unreadable, unsupported or unsafe
    ├── ModelError (ValueError)        4   the checkpoint is missing, refused or does not fit
    ├── OutputError (OSError)          5   the output exists, cannot be written or failed verification
    ├── LimitError (ValueError)        6   a size or memory limit would be passed
    ├── RemoteError (OSError)          7   a remote read failed or is not allowed
    ├── TrainError                     8   training cannot go on
    └── BatchError                     9   some files of a batch run failed, or its cluster was lost
    GeofsrcnnWarning (UserWarning)         something that the user can act on

Each class is also the built-in that fits, so both kinds of ``except`` work.
"""

from __future__ import annotations

import warnings
from importlib import import_module
from typing import Any, ClassVar


class GeofsrcnnError(Exception):
    """Base of all errors; its message is one line: what, which (why), what to do."""

    exit_code: ClassVar[int] = 1


class InternalError(GeofsrcnnError):
    """A defect of geofsrcnn itself."""


class UsageError(GeofsrcnnError, ValueError):
    """An argument, an option or a combination of them is wrong; nothing was opened."""

    exit_code = 2


class ConfigError(UsageError):
    """A network or training configuration is wrong."""


class InputError(GeofsrcnnError, ValueError):
    """The input is missing, unreadable, unsupported or unsafe."""

    exit_code = 3


class ModelError(GeofsrcnnError, ValueError):
    """The checkpoint is missing, refused, or does not fit the data."""

    exit_code = 4


class OutputError(GeofsrcnnError, OSError):
    """The output exists, cannot be written, or failed its verification.

    Parameters
    ----------
    *args : object
        The message.
    """

    exit_code = 5

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._text = str(args[0]) if args else ""

    def __str__(self) -> str:
        return self._text


class LimitError(GeofsrcnnError, ValueError):
    """The run would pass a size or memory limit."""

    exit_code = 6


class RemoteError(GeofsrcnnError, OSError):
    """A remote read failed or is not allowed."""

    exit_code = 7


class TrainError(GeofsrcnnError):
    """Training cannot go on."""

    exit_code = 8


class BatchError(GeofsrcnnError):
    """Some files of a batch run failed, or its cluster was lost; the others are good."""

    exit_code = 9


class GeofsrcnnWarning(UserWarning):
    """Something the user can act on.

    Parameters
    ----------
    code : str
        Stable identifier such as ``W-SIDECAR``.
    message : str
        One line: what was found and what to do about it.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code


def warn(code: str, message: str) -> None:
    """Issue a `GeofsrcnnWarning`."""
    warnings.warn(GeofsrcnnWarning(code, message), stacklevel=3)


def as_error(problem: GeofsrcnnWarning | Exception) -> GeofsrcnnError:
    """Turn a warning that stands for an error, or what a defect raised, into an error of one line."""
    if isinstance(problem, GeofsrcnnWarning):
        return InputError(f"{problem} (strict=True)")
    return InternalError(f"internal error: {type(problem).__name__}: {printable(problem)}"[:500])


def need(extra: str, *modules: str) -> None:
    """Import modules that an extra brings.

    Raises
    ------
    UsageError
        If one is not installed, with what to install.
    """
    try:
        for module in modules:
            import_module(module)
    except ImportError as error:
        raise UsageError(f"{error.name} is not installed: pip install 'geofsrcnn[{extra}]'") from None


def printable(text: object) -> str:
    r"""Text from a file or a name, on one line, control characters as ``\xNN``.

    Examples
    --------
    >>> printable("a\x1b[31mb\n")
    'a\\x1b[31mb\\x0a'
    """
    return "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in str(text))
