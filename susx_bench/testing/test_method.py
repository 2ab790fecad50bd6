"""The contract, put to the method that ``--method`` names."""

from __future__ import annotations

import pytest

from susx_bench.loading import load_method
from susx_bench.methods.base import Method
from susx_bench.testing.contract import MethodContract


class TestMethod(MethodContract):
    """See `susx_bench.testing`."""

    @pytest.fixture
    def candidate(self, pytestconfig: pytest.Config) -> type[Method]:
        """The method asked for."""
        name: str | None = pytestconfig.getoption("--method", default=None)
        if name is None:
            pytest.fail("which method? Add: -p susx_bench.testing --method NAME", pytrace=False)
        return load_method(name)[0]
