"""Serve a toy for the tests of `/flow`: it has the name and a parameter of a flow of ours, and takes some seconds."""

from __future__ import annotations

import time

from prefect import flow, serve


@flow(name="verify")
def verify(deep: bool = False) -> None:
    """Take some seconds; deep, fail."""
    time.sleep(4)
    if deep:
        raise ValueError("the toy found something")


# Each run is a spawned process, which imports this module again.
if __name__ == "__main__":
    serve(verify.to_deployment("nescord"), pause_on_shutdown=False)
