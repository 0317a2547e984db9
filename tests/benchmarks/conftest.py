"""The synthetic device of the tests of latencies, profiled."""

from mnasfpn.tests.latency.conftest import fitted, measured, tiny_plan

__all__ = ["fitted", "measured", "tiny_plan"]
