"""From --devices, --workers and --threads to what this machine, or several, have."""

from __future__ import annotations

import dataclasses
import functools

import tensorflow as tf
import threadpoolctl

from experiments.assemble.cluster import asked_cluster
from experiments.options.config import Config
from ssl_weighting.theta.devices import Devices
from ssl_weighting.theta.rendezvous import meet
from ssl_weighting.theta.workers import join


def limit_threads(config: Config) -> None:
    """Let a process use --threads cores, 0 for all that there are, before TensorFlow does anything.

    How many share a sum decides how it is rounded. NumPy and SciPy count, too: the threads of their
    BLAS wait for each other in a loop, which makes many small products several times dearer.

    Raises:
        ValueError: TensorFlow runs already, with another number.
    """
    if config.threads:
        threadpoolctl.threadpool_limits(config.threads)
    threading = tf.config.threading
    if config.threads == threading.get_intra_op_parallelism_threads():
        return
    try:
        threading.set_intra_op_parallelism_threads(config.threads)
    except RuntimeError as error:
        raise ValueError(
            f"--threads={config.threads} must be the first use of TensorFlow in its process, "
            f"which runs with {threading.get_intra_op_parallelism_threads()} (0: all). "
            f"Received: {error}"
        ) from None


def divide_the_cpu(config: Config) -> None:
    """Make N logical devices of the CPU for --devices=N > 1 on a machine without GPUs.

    They are slower than one: a way to try what a run on N GPUs does. To be called before
    TensorFlow does anything.

    Raises:
        ValueError: TensorFlow runs already, with fewer devices.
    """
    if config.devices < 2 or tf.config.list_physical_devices("GPU"):
        return
    cpu, count = tf.config.list_physical_devices("CPU")[0], config.devices
    try:
        parts = [tf.config.LogicalDeviceConfiguration()] * count
        tf.config.set_logical_device_configuration(cpu, parts)
    except RuntimeError as error:
        if len(tf.config.list_logical_devices("CPU")) < count:
            raise ValueError(
                f"--devices={count} without GPUs must be the first use of TensorFlow in its "
                f"process. Received: {error}"
            ) from None


def join_workers(config: Config) -> Devices:
    """Wait for the other processes of --workers=auto; without them return one device.

    To be called before TensorFlow does anything.

    Raises:
        ValueError: the environment names no processes, or they have different numbers of GPUs.
        OSError: this process cannot listen at its address; WorkerLost: others do not come.
    """
    cluster = asked_cluster() if config.workers else None
    return _joined(cluster) if cluster and len(cluster.addresses) > 1 else Devices()


@functools.cache  # a process joins once
def _joined(cluster):
    gpus = len(tf.config.list_physical_devices("GPU"))
    meet(cluster, gpus, say=functools.partial(print, flush=True))
    return Devices(strategy=join(cluster, gpus))


def open_devices(config: Config) -> Devices:
    """Return the devices that `config` asks for: of all workers, GPUs, or a divided CPU's parts.

    Raises:
        ValueError: fewer devices than asked for, no even division of the batch among all, or
            rows that would be dealt out twice.
    """
    workers = join_workers(config)
    if config.workers and workers.workers == 1:  # a process by itself takes all that it sees
        config = dataclasses.replace(config, workers="", devices=0)
    gpus = len(tf.config.list_physical_devices("GPU"))
    kind = "GPU" if gpus else "CPU"
    found = gpus or len(tf.config.list_logical_devices("CPU"))
    count = workers.count if workers.workers > 1 else config.devices or max(gpus, 1)
    if config.labeled_batch % count:
        raise ValueError(
            "--labeled_batch must be a multiple of the number of devices. Received: "
            f"--labeled_batch={config.labeled_batch} and {_told(count, kind, workers)}"
        )
    if count > 1 and config.interleave:
        raise ValueError(
            "--interleave must be left out with several devices, which always take interleaved "
            f"slices. Received: --interleave=true and {count} devices"
        )
    if workers.workers > 1:
        return workers
    if count > found:
        raise ValueError(
            f"--devices must be at most {found}, the {kind}s at hand. "
            f"Received: --devices={config.devices}"
        )
    if count > 1 and not gpus:
        print(f"no GPU: {count} logical devices of one CPU, to try what GPUs do", flush=True)
    return Devices([f"{kind}:{k}" for k in range(count)] if count > 1 else [])


def _told(count, kind, workers):
    if workers.workers > 1:
        return f"{count} devices of {workers.workers} workers. Start fewer, or other batches"
    return f"{count} {kind}s. Give the number with --devices"
