"""Events: what the library tells, to whoever listens; it prints nothing itself."""

from __future__ import annotations

import pytest

from susx_bench.events import Advanced, Changed, Event, Failed, Finished, Job, Started
from susx_bench.features.launch import Launch
from susx_bench.runner.plan import plan
from susx_bench.runner.request import Request
from susx_bench.runner.run import run
from tests.conftest import Bundle


def test_a_job_counts_and_tells() -> None:
    heard: list[Event] = []

    def count() -> None:
        with Job(heard.append, "reading", "images") as job:
            job.begin(3)
            job.advance()
            job.say("looking")
            job.fail("one is torn", 2)
            raise KeyError

    with pytest.raises(KeyError):
        count()

    kinds = [Started, Started, Advanced, Changed, Failed, Finished]
    assert [type(event) for event in heard] == kinds
    last = heard[-1]
    assert isinstance(last, Finished)
    assert not last.complete
    assert (last.job.what, last.job.total, last.job.done) == ("looking", 3, 3)


def test_a_run_tells_its_cells_and_prints_nothing(
    bundle: Bundle, capfd: pytest.CaptureFixture[str]
) -> None:
    """With the default listener a run has nothing on either stream."""
    request = Request(method=("tag", "zero-shot"), setting="few-shot", features=bundle())
    launch = Launch(accelerator="cpu")
    heard: list[Event] = []

    cells = plan(request, heard.append).cells
    run(cells, request.out, launch, heard.append)
    run(plan(request).cells, request.out, launch, force=True)

    assert capfd.readouterr() == ("", "")
    first, *_, last = heard
    assert isinstance(first, Started)
    assert isinstance(last, Finished)
    assert first.job is last.job
    assert (last.job.unit, last.job.total, last.job.done) == ("cells", 2, 2)
