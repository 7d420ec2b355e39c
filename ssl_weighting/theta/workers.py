"""Several processes, on one machine or many, that share each theta-step."""

from __future__ import annotations

import signal
import threading

from ssl_weighting.theta.rendezvous import Cluster, WorkerLost


def join(cluster: Cluster, gpus: int):
    """Return the strategy that all processes share, who must be there: see `rendezvous.meet`.

    Every replica is one GPU, or the whole CPU of a process without any. To be called before
    TensorFlow does anything, once in a process. While TensorFlow waits, SIGTERM and SIGINT have
    no effect; as soon as all are there SIGTERM does what it did before.

    Args:
        cluster: two processes or more.
        gpus: how many GPUs each process has: all the same number.

    Raises:
        WorkerLost: TensorFlow could not join them: somebody has ended since they met.
        OSError: this process cannot listen at its address.
        ValueError: TensorFlow runs already.
    """
    import tensorflow as tf  # addresses can be read, and refused, without it

    spec = tf.train.ClusterSpec({"worker": list(cluster.addresses)})
    # SlurmClusterResolver and TF_CONFIG's resolver read the environment on their own terms: the
    # first calls nvidia-smi and sorts hosts by name, which need not be the order of the ranks.
    resolver = tf.distribute.cluster_resolver.SimpleClusterResolver(
        spec,
        task_type="worker",
        task_id=cluster.index,
        num_accelerators={"GPU": gpus},
        rpc_layer="grpc",
    )
    before = signal.getsignal(signal.SIGTERM)
    try:
        return tf.distribute.MultiWorkerMirroredStrategy(cluster_resolver=resolver)
    except RuntimeError as error:
        raise ValueError(
            f"--workers=auto must be the first use of TensorFlow in its process. Received: {error}"
        ) from None
    except tf.errors.UnknownError as error:  # so it says that a server could not start
        raise OSError(
            f"worker {cluster.index} could not listen at {cluster.addresses[cluster.index]}: "
            f"{error.message.splitlines()[0]}. End what uses that port, or name another one"
        ) from error
    except tf.errors.OpError as error:
        raise WorkerLost(
            "All workers must stay until training begins. Received: "
            f"{error.message.splitlines()[0]}. Look for the error of another worker, and start all "
            "of them again"
        ) from error
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before)  # TensorFlow's own handler only takes note
