"""A Dask cluster of this machine for tests: processes of their own, on loopback, which start quickly."""

import contextlib
import multiprocessing
from collections.abc import Iterator
from unittest.mock import patch

import dask.config
from distributed import LocalCluster

SETTINGS = {
    "distributed.worker.multiprocessing-method": "forkserver",
    "distributed.comm.timeouts.connect": "10s",
    "distributed.deploy.lost-worker-timeout": "10 minutes",  # it takes a worker that starts slowly for lost
    "distributed.scheduler.allowed-failures": 9,  # a file is given up by our count
}
LOADED = ["process_tasks", "sepdict.web.jobs", "sepdict.batch.run", "sepdict.batch.cluster"]


@contextlib.contextmanager
def local_cluster(n_workers: int) -> Iterator[LocalCluster]:
    """Run a scheduler here, and workers of one thread each, forked from a process that has loaded what they need."""
    multiprocessing.get_context("forkserver").set_forkserver_preload(LOADED)
    with (
        patch("distributed.utils._forkserver_preload_set", True),
        dask.config.set(SETTINGS),
        LocalCluster(
            n_workers=n_workers,
            threads_per_worker=1,
            processes=True,
            host="127.0.0.1",
            dashboard_address="127.0.0.1:0",  # a free port, for None takes 8787
        ) as cluster,
    ):
        yield cluster
