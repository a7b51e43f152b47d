"""One script a peer: `python -m benchmarks.peering.adapters.NAME STEP --state DIR --vault DIR`."""
