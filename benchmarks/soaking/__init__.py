"""A soak of the whole service (`benchmarks.soak`): its world, load, faults, independent ledger, and the judgement."""
