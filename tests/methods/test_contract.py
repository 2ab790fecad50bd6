"""Every registered method holds to the contract that plugins are held to."""

from __future__ import annotations

import pytest

from susx_bench.methods.base import Method
from susx_bench.registry import METHODS
from susx_bench.testing import MethodContract


class TestRegistered(MethodContract):
    @pytest.fixture(params=METHODS.names())
    def candidate(self, request: pytest.FixtureRequest) -> type[Method]:
        return METHODS.get(request.param)
