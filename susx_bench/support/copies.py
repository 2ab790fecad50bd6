"""Describe test images, so that no support set contains a copy of one."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from susx_bench.data.dataset import Dataset, DatasetSplit
from susx_bench.data.duplicates import Look, Seen, look
from susx_bench.data.sources.base import Sample
from susx_bench.errors import DatasetError, SupportError
from susx_bench.events import Listener
from susx_bench.support.build import progress


def test_split(dataset: Dataset) -> DatasetSplit:
    """The test images, copies of which are left out.

    Raises:
        SupportError: If they are not on this machine.
    """
    try:
        test = dataset.split("test")
        test.listed  # noqa: B018 - raises if they are not here
    except DatasetError as error:
        raise SupportError(
            f"copies of test images must be kept out of the support set, but {error} With "
            "--no-test-check they are not looked for, and the recipe says so."
        ) from error
    return test


def looked_at(test: DatasetSplit | None, listen: Listener) -> Seen:
    """Descriptions of all test images; empty if copies are not searched for."""
    seen = Seen()
    if test is None:
        return seen
    with progress(listen, "looking at test images", len(test)) as advance:

        def read(sample: Sample) -> Look:
            seen = look(test.image(sample))
            advance(1)
            return seen

        with ThreadPoolExecutor() as threads:  # Pillow decodes outside the interpreter's lock
            for sample, one in zip(test.samples, threads.map(read, test.samples), strict=True):
                seen.add(f"test/{sample.key}", one)
    return seen
