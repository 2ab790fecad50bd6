"""The facts of a dataset: its names, its sizes, and the places of its images."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from susx_bench.data.sources.base import Source

Split = Literal["train", "val", "test"]
SPLITS: tuple[Split, ...] = ("train", "val", "test")


@dataclass(frozen=True, kw_only=True)
class SplitFile:
    """A folder of images and a JSON file that lists the images of each split (CoOp, SuS-X).

    The file is ``{"train": [[path, label, class name], ...], "val": ..., "test": ...}``.

    Attributes:
        file: The JSON file, in the dataset's folder.
        images: Folder to which the paths are relative, in the dataset's folder.
    """

    file: str
    images: str


@dataclass(frozen=True, kw_only=True)
class ClassFolders:
    """One folder per class, in one folder per split (torchvision's ImageFolder).

    Attributes:
        splits: Folder of each split, in the dataset's folder; ``.`` for the folder itself.
        complete: Whether every split has every class.
    """

    splits: Mapping[Split, str]
    complete: bool = True


@dataclass(frozen=True, kw_only=True)
class ListFiles:
    """One text file per split; each line has an image's name, a space and its class.

    Attributes:
        lists: The text file of each split, in the dataset's folder.
        images: Folder of the images, in the dataset's folder.
        suffix: Ending to add to the names.
    """

    lists: Mapping[Split, str]
    images: str
    suffix: str


@dataclass(frozen=True, kw_only=True)
class Tables:
    """Parquet files or webdataset shards in the layout of a hub copy, see `Hub`."""


Layout = SplitFile | ClassFolders | ListFiles | Tables


@dataclass(frozen=True, kw_only=True)
class Hub:
    """A copy on the Hugging Face hub, as Parquet files or webdataset shards.

    Attributes:
        repo: ``ORG/NAME``.
        revision: Full commit, 40 hexadecimal digits.
        splits: The copy's own name of each split.
        sizes: Number of images of each split there.
        protocol: ``susx`` if every split holds the published images, else ``hub-official``.
        image: Column of the images; for webdataset the existing one of jpg, png, webp.
        label: Column of the labels.
        config: The copy's configuration, if it has several.
        name: Column of the original file names, used to join a split file.
        files: Patterns of the files to download.
    """

    repo: str
    revision: str
    splits: Mapping[Split, str]
    sizes: Mapping[Split, int]
    protocol: Literal["susx", "hub-official"]
    image: str = "image"
    label: str = "label"
    config: str | None = None
    name: str | None = None
    files: tuple[str, ...] = ("*.parquet", "*.tar", "classnames.txt", "README.md")


@dataclass(frozen=True)
class Where:
    """Where and how to search for the images of a dataset.

    Attributes:
        root: Folder of local data, with a folder per dataset.
        source: ``folder``, ``hub``, ``hf:ORG/NAME[@REVISION]``, or ``auto``: the folder if it
            exists, else the hub.
        split_file: Split file instead of the published one.
        skip_bad: Whether images that cannot be decoded are left out; else they are an error.
        image_column: Column of a table's images; None for one of the usual names.
        label_column: Column of its labels, likewise.
        classnames: File of class names, one per line, for the user's own data.
        limit: Use only the first `limit` test images of each class; None for all.
    """

    root: Path | None = None
    source: str = "auto"
    split_file: Path | None = None
    skip_bad: bool = False
    image_column: str | None = None
    label_column: str | None = None
    classnames: Path | None = None
    limit: int | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class DatasetSpec:
    """The facts of a dataset.

    Attributes:
        name: Short name, as on the command line, and its folder's under the data root.
        title: Name for people.
        classnames: Canonical class names, in canonical order.
        sizes: Published number of images of each split.
        template: Prompt of ``single``, with one ``{}`` for the class name (CoOp, Tip-Adapter).
        photo: Prompt of ``photo`` (SuS-X).
        licence: Terms of the images.
        protocol: The protocol of `sizes`, such as ``susx``.
        bibtex_key: Citation.
        citation: The BibTeX entry.
        metric: The metric of the CLIP paper: ``accuracy`` or ``mean-per-class``.
        val_is_test: Whether the published protocol reuses the test set for validation. Then no
            split is called ``val``.
        layout: How the images lie in a local folder.
        folders: Other names of that folder under the data root.
        hub: Copies on the hub, the preferred one first.
        fetch: How to get the data by hand.
        aliases: Other names of a class: folder names, hub labels, codes. One alias may be several
            synonyms separated by commas; a single one counts if it means no other class.
        shared: Names that other lists give to a class although another class has that name.
        dropped: Classes of copies that the published protocol leaves out.
        numbered: Whether copies may call the classes 1, 2, ... K.
        views: Augmented views a few-shot support image is averaged over; 1 is the image itself.
        support: Kind of the default support set of the name-only setting; only if the package can
            build it by itself.
        encoder: The default encoder; only for data with an encoder made for it.
        source: Opens images in no layout above; by default they are searched for in a local
            folder and on the hub.
        train_of: For a test set without training images: the dataset that lends those of the
            same classes, if it has a local folder. The first alias of each of its classes, a
            code, is an alias of our class.
        clean: For a robustness set: the dataset with the same classes and easier test images, so
            that tables can show the difference of accuracies.
        merged: Whether several classes of a copy may be one class here, each by an alias.
    """

    name: str
    title: str
    classnames: tuple[str, ...]
    sizes: Mapping[Split, int]
    template: str
    licence: str
    protocol: str
    bibtex_key: str
    photo: str = "A photo of a {}."
    citation: str = ""
    metric: Literal["accuracy", "mean-per-class"] = "accuracy"
    val_is_test: bool = False
    layout: Layout | None = None
    folders: tuple[str, ...] = ()
    hub: tuple[Hub, ...] = ()
    fetch: str = ""
    aliases: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    shared: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    dropped: tuple[str, ...] = ()
    numbered: bool = False
    views: int = 10
    support: str | None = None
    encoder: str | None = None
    source: Callable[[DatasetSpec, Where], Source] | None = None
    train_of: str = ""
    clean: str = ""
    merged: bool = False


def own_spec(
    name: str,
    title: str,
    classnames: tuple[str, ...],
    aliases: Mapping[str, tuple[str, ...]] | None = None,
) -> DatasetSpec:
    """The facts of the user's own data: no published sizes, and prompts that fit any image."""
    return DatasetSpec(
        name=name,
        title=title,
        classnames=classnames,
        aliases=aliases or {},
        sizes={},
        template="a photo of a {}.",
        licence="yours to know",
        protocol="custom",
        bibtex_key="",
    )


def read_classnames(name: str) -> tuple[str, ...]:
    """Read the canonical class names of the package, one per line."""
    return tuple(line.split("\t")[-1] for line in _lines(name))


def read_codes(name: str) -> dict[str, tuple[str, ...]]:
    """Read the codes (WordNet ids, countries) in front of the class names: name to code."""
    pairs = (line.split("\t") for line in _lines(name))
    return {classname: (code,) for code, classname in pairs}


def read_synsets() -> dict[str, str]:
    """Read WordNet's names of ImageNet's classes: code to synonyms separated by commas."""
    return dict(line.split("\t") for line in _lines("imagenet-synsets"))


def _lines(name: str) -> list[str]:
    path = Path(__file__).parent / "facts" / "classnames" / f"{name}.txt"
    return path.read_text(encoding="utf-8").splitlines()
