"""Every error this project raises on purpose, each with the exit code the command line gives it.

| code | meaning |
|---|---|
| 0 | all went well; for `verify`, every file passed |
| 1 | the accuracy gate, or a self-test, did not pass |
| 2 | the command was used wrongly |
| 3 | a package that this command needs is not installed, or cannot be imported |
| 4 | a model, its spec or an artifact folder is broken |
| 5 | the images, the dataset or the camera are unusable |
| 6 | a result could not be written |
| 7 | an update was refused or undone; the version before it runs |
| 130 | stopped by Ctrl-C |
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec


class OddEvenError(Exception):
    """Something a user can act on; its message is one or two whole sentences."""

    exit_code = 2


class UsageError(OddEvenError):
    """An option or argument that cannot be honoured, such as a name that no table holds."""

    exit_code = 2


class MissingPackageError(OddEvenError):
    """A package that is not installed, or is but cannot be imported; the message carries the line that installs it."""

    exit_code = 3


class ModelError(OddEvenError):
    """A model file, spec, manifest or artifact folder that is broken or does not fit."""

    exit_code = 4


class DataError(OddEvenError):
    """An image, a folder of images, a dataset or a camera that cannot be used."""

    exit_code = 5


class BlankError(DataError):
    """A blank image, for which any prediction would be made up."""


class OutputError(OddEvenError):
    """A result that could not be written."""

    exit_code = 6


class UpdateError(OddEvenError):
    """An update that was refused or undone; the version before it is the current one."""

    exit_code = 7


def choose(kind: str, name: str, known: Iterable[str]) -> str:
    """Return `name` if the table `known` holds it.

    Raises:
        UsageError: it does not; the message lists what the table holds.
    """
    names = list(known)
    if name not in names:
        raise UsageError(f"There is no {kind} {name!r}; known are {', '.join(names) or 'none'}.")
    return name


@contextmanager
def needing(need: str, install: str) -> Iterator[None]:
    """Tell, where the body's imports fail, whether a package is missing or broken.

    Args:
        need: what the packages are needed for, as the beginning of a sentence.
        install: the command that installs them.

    Raises:
        MissingPackageError: an import failed.
    """
    try:
        yield
    except ImportError as error:
        package = (error.name or "").partition(".")[0]
        if isinstance(error, ModuleNotFoundError) and package and find_spec(package) is None:
            raise MissingPackageError(f"{need} needs {package}, which is not installed: {install}") from error
        raise MissingPackageError(
            f"{need} needs {package or 'a package'}, which is installed and cannot be imported ({reason(error, 300)}); "
            f"mend what that names, or install it again: {install}"
        ) from error


def reason(error: Exception, most: int = 160) -> str:
    """What a package's error says, in one line of `most` characters at most; its class where it says nothing."""
    return " ".join(str(error).split())[:most] or type(error).__name__


def extra(name: str) -> str:
    """The command that installs an extra of this distribution."""
    return f"pip install 'oddeven[{name}]'"
