"""The benchmarks still work; what they measure is not asserted."""
