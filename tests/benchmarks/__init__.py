"""What gaeport costs, beside the budgets of the design: `python -m tests.benchmarks` (`make bench`).

Each section runs in a process of its own, so that the patched functions and open stores of one do not slow another.
Times that are compared are measured by turns in one run; only ratios and differences carry from machine to machine.
"""
