"""A Dask worker's preload that lies about its results, as `FMBOOK_LIE` says."""

import json
import os
from typing import Any

from fmbook.grading import preload

_honest = preload.run


def _lie(job: bytes, *more: str) -> Any:
    how, said, layers = _honest(job, *more)
    found, lie = json.loads(said), os.environ["FMBOOK_LIE"]
    if lie == "garbage":
        return how, b"\x00\xff", layers
    if lie == "other kind":
        return ["full marks"]
    if lie == "foreign":
        found["steps"]["extra"] = {"id": "extra", "seconds": 0.0}
    if lie == "missing":
        found["steps"].popitem()
    if lie == "full marks":
        for step in found["steps"].values():
            if "tier" in step:
                step.pop("error", None)
                step["score"] = None
    return how, json.dumps(found).encode(), layers


def dask_setup(worker: Any) -> None:
    preload.dask_setup(worker)
    preload.run = _lie  # by its name here is what the coordinator's call finds
