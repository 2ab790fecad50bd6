"""Every error a user can cause, and mend.

::

    BenchError                    one line on stderr, exit 2
    ├── UnknownNameError          a method, dataset, encoder ... that is not registered
    ├── PluginError               a plugin that cannot be loaded, or two that claim one name
    ├── OptionError               options that do not fit each other or the data
    ├── BundleError               a feature bundle that is not what the format says
    ├── DatasetError              a dataset that is missing, or is not the published one
    ├── EncoderError              an encoder that cannot be loaded as asked
    ├── PromptsError              a prompt file that is missing, or does not fit the dataset
    ├── SupportError              a support set that is missing, unfinished or of other classes
    ├── ShotsError                more shots than there are labelled images
    ├── RetrievalError            a retrieval backend that does not answer, or not as it should
    ├── OutputError               a folder that cannot be written
    ├── RecordError               a record that cannot be read or believed
    │   ├── DriftError            one of another schema, or changed since it was written
    │   └── NotNamedError         one that is measured again only with an option that names a file
    ├── SuiteError                a suite file with a mistake
    ├── PackageMissingError       an optional package that is not installed
    └── CheckError                a check that ran and found a difference, exit 3

A message names the thing, both numbers, the place and what to do next. Anything that is not a
`BenchError` is our mistake: it ends with a traceback and exit 1.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence

_ENDED_TWICE = re.compile(r"(?<=[^\s./])\.\.(?=\s|$)")


class BenchError(Exception):
    """A mistake that the user can mend.

    Args:
        message: The fault. A double full stop, left by a quoted sentence of a library, becomes one.

    Attributes:
        exit_code: Exit code of the command line.
    """

    exit_code = 2

    def __init__(self, message: str = "") -> None:
        super().__init__(_ENDED_TWICE.sub(".", message))


def nearest(name: str, known: Iterable[str]) -> list[str]:
    """At most two known names with a similar spelling; case and hyphens do not count."""
    spelt: dict[str, str] = {}
    for candidate in known:
        spelt.setdefault(_letters(candidate), candidate)
    if equal := spelt.get(_letters(name)):
        return [equal]
    near = difflib.get_close_matches(_letters(name), spelt, n=2, cutoff=0.5)
    return [spelt[letters] for letters in near]


def _letters(name: str) -> str:
    return "".join(letter for letter in name.lower() if letter.isalnum())


_SHOWN = 200  # characters of an unknown name


class MetByFirstError(Exception):
    """The cause of an error on another rank: rank 0 has met the same one, and reports it."""


class UnknownNameError(BenchError):
    """A name that is not registered; the message suggests `near`, else the nearest known names."""

    def __init__(
        self,
        kind: str,
        name: str,
        known: Iterable[str],
        hint: str = "",
        near: Sequence[str] = (),
    ) -> None:
        names = sorted(known)
        near = near or nearest(name, names)
        guess = f" Did you mean {' or '.join(near)}?" if near else ""
        super().__init__(
            f"no {kind} called '{name[:_SHOWN]}'.{guess} Known: {', '.join(names) or 'none'}."
            + (f" {hint}" if hint else "")
        )


class PluginError(BenchError):
    """A plugin that cannot be loaded, or two plugins that claim the same name."""


class OptionError(BenchError):
    """Options that contradict each other, or ask for what the data does not have."""


class BundleError(BenchError):
    """A feature bundle that breaks its format."""


class DatasetError(BenchError):
    """A dataset that is missing, or whose content is not the published one."""


class EncoderError(BenchError):
    """An encoder that cannot be loaded as asked."""


class PromptsError(BenchError):
    """A prompt file that is missing, or does not fit the dataset."""


class SupportError(BenchError):
    """A support set that is missing, unfinished, damaged, or of other classes."""


class ShotsError(BenchError):
    """More shots asked for than a class has labelled images."""


class RetrievalError(BenchError):
    """A retrieval backend that does not answer, or not as it should."""


class OutputError(BenchError):
    """An output or cache folder that cannot be written."""


class RecordError(BenchError):
    """A record, or the predictions beside it, that cannot be read or believed."""


class DriftError(RecordError):
    """A record of another schema, or one that was changed after it was written."""


class NotNamedError(RecordError):
    """A record with inputs in files of the user that were not named.

    Args:
        message: The fault.
        option: The option that names them, such as ``--features``.
    """

    def __init__(self, message: str, option: str) -> None:
        super().__init__(message)
        self.option = option


class SuiteError(BenchError):
    """A suite file with a mistake in it."""


class PackageMissingError(BenchError, ImportError):
    """An optional package that something needs is not installed."""

    def __init__(self, what: str, package: str) -> None:
        super().__init__(f"{what} needs {package}. Run `pip install {package}`.")


class CheckError(BenchError):
    """A check that ran to its end and found a difference."""

    exit_code = 3
