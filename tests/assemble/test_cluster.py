"""From what schedulers put into the environment to the addresses of a run's processes."""

import json
import os
import subprocess
import sys

import pytest
import yaml
from places import ROOT

from experiments.assemble.cluster import cluster_of
from experiments.runs.errors import FAILED, LOST
from experiments.runs.start import TERMINATED


def tf_config(cluster, kind, index):
    return {"TF_CONFIG": json.dumps({"cluster": cluster, "task": {"type": kind, "index": index}})}


def slurm(nodes, tasks, count, rank, node, local, **others):
    """Return what `srun` sets for one task."""
    return {
        "SLURM_STEP_NODELIST": nodes,
        "SLURM_STEP_TASKS_PER_NODE": tasks,
        "SLURM_STEP_NUM_TASKS": str(count),
        "SLURM_PROCID": str(rank),
        "SLURM_NODEID": str(node),
        "SLURM_LOCALID": str(local),
        "SLURM_JOB_ID": "1234567",
    } | others


def hosts(pattern, count, index):
    return {
        "SSL_WEIGHTING_HOSTS": pattern,
        "SSL_WEIGHTING_WORKERS": count,
        "JOB_COMPLETION_INDEX": index,
    }


TWO = {"worker": ["a:1", "b:2"]}


@pytest.mark.parametrize(("environ", "addresses", "index"), [
    (tf_config(TWO, "worker", 1), ["a:1", "b:2"], 1),
    (tf_config(TWO | {"chief": ["c:3"]}, "worker", 1), ["c:3", "a:1", "b:2"], 2),
    (tf_config(TWO | {"chief": ["c:3"]}, "chief", 0), ["c:3", "a:1", "b:2"], 0),
    (tf_config({"worker": ["[::1]:7"]}, "worker", 0), ["[::1]:7"], 0),
    (slurm("n5", "2", 2, 1, 0, 1), ["n5:24567", "n5:24568"], 1),
    (
        slurm("n[1-3,07],m5", "2(x3),1,1", 8, 6, 3, 0, SLURM_JOB_ID="30000"),
        ["n1:20000", "n1:20001", "n2:20000", "n2:20001", "n3:20000", "n3:20001", "n07:20000",
         "m5:20000"],
        6,
    ),
    (slurm("n[009-011]", "1(x3)", 3, 2, 2, 0, SSL_WEIGHTING_PORT="99"),
     ["n009:99", "n010:99", "n011:99"], 2),
    (slurm("r1-n[8-9].site", "1(x2)", 2, 0, 0, 0, SSL_WEIGHTING_PORT="7"),
     ["r1-n8.site:7", "r1-n9.site:7"], 0),
    (hosts("train-{}.train:2222", "3", "2"), [f"train-{k}.train:2222" for k in range(3)], 2),
    (hosts("train-{}:1", "1", "0"), ["train-0:1"], 0),
    ({"TF_CONFIG": " "} | hosts("w{}:1", "2", "0"), ["w0:1", "w1:1"], 0),
    (hosts("w{}:1", "2", "0") | tf_config(TWO, "worker", 0), ["a:1", "b:2"], 0),
    (hosts("w{}:1", "2", "0") | slurm("n[1-2]", "1(x2)", 2, 1, 1, 0), ["n1:24567", "n2:24567"], 1),
])  # fmt: skip
def test_addresses_come_in_the_order_of_ranks(environ, addresses, index):
    assert cluster_of(environ) == (tuple(addresses), index)


def test_nothing_set_is_no_cluster():
    assert cluster_of({}) is None
    # A job of SLURM whose batch script is not a step.
    assert cluster_of({"SLURM_JOB_ID": "7", "SLURM_PROCID": "0", "SLURM_NODELIST": "n1"}) is None


@pytest.mark.parametrize(("environ", "message"), [
    ({"TF_CONFIG": "{"}, r"TF_CONFIG must be JSON like .* Received: '{' \(JSONDecodeError"),
    ({"TF_CONFIG": "[]"}, "TF_CONFIG must be JSON like"),
    ({"TF_CONFIG": '{"cluster": {}}'}, "KeyError: 'task'"),
    (tf_config({"worker": 3}, "worker", 0), "TF_CONFIG must be JSON like"),
    (tf_config(TWO | {"ps": ["c:3"]}, "worker", 0), "of a chief and workers alone. Received: ps"),
    (tf_config(TWO | {"chief": ["c:1", "d:1"]}, "chief", 0), "one chief at most"),
    (tf_config(TWO, "worker", 2), "a task of its cluster. Received: type 'worker', index 2"),
    (tf_config(TWO, "worker", True), "index True"),
    (tf_config(TWO, "worker", "0"), "index '0'"),
    (tf_config(TWO, "evaluator", 0), "type 'evaluator', index 0"),
    (tf_config({"worker": ["a:1", 7]}, "worker", 0), "addresses host:port .* Received: 7"),
    (tf_config({"worker": ["a:1", "b"]}, "worker", 0), "Received: 'b'"),
    (tf_config({"worker": ["a:1", "b:0"]}, "worker", 0), "ports of 1 to 65535. Received: 'b:0'"),
    (tf_config({"worker": ["a:1", "grpc://b:2"]}, "worker", 0), "Received: 'grpc://b:2'"),
    (tf_config({"worker": ["a:1", "a:1"]}, "worker", 0), "different addresses. Received: a:1 twi"),
    (slurm("n[1-2]", "2(x2)", 4, 1, 1, 0), "rank 1 as number 0 of node 1, not as number 1 of node"
     " 0. Use srun --distribution=block"),
    (slurm("n[1-2]", "2(x2)", 3, 0, 0, 0), "3 tasks in all, as SLURM_STEP_NUM_TASKS. Received: "),
    (slurm("n[1-2]", "2", 2, 0, 0, 0), "numbers of tasks for 2 nodes, as 2(x3),1. Received: '2'"),
    (slurm("n[1-2]", "two", 2, 0, 0, 0), "Received: 'two'"),
    (slurm("n[1-2][3-4]", "1(x4)", 4, 0, 0, 0), r"one range of numbers in brackets at most"),
    (slurm("n[3-1]", "1", 1, 0, 0, 0), r"Received: 'n\[3-1\]'"),
    (slurm("n[1-", "1", 1, 0, 0, 0), r"Received: 'n\[1-'"),
    (slurm("", "1", 1, 0, 0, 0), "Received: ''"),
    (slurm("n1", "2", 2, 2, 0, 0), "SLURM_PROCID must be a whole number, 0 to 1. Received: '2'"),
    (slurm("n1", "2", 2, 0, 0, 0, SSL_WEIGHTING_PORT="x"), "SSL_WEIGHTING_PORT must be a whole"),
    (slurm("n1", "2", 2, 0, 0, 0, SSL_WEIGHTING_PORT="65535"), "Received: 'n1:65536'"),
    ({"SLURM_STEP_NODELIST": "n1"}, "SLURM_STEP_TASKS_PER_NODE must be set beside the other"),
    (hosts("w:1", "2", "0"), "an address with {} in the place of its number"),
    (hosts("w{}", "2", "0"), "Received: 'w0'"),
    (hosts("w{}:1", "0", "0"), "SSL_WEIGHTING_WORKERS must be a whole number, 1 or more"),
    (hosts("w{}:1", "2", "2"), "JOB_COMPLETION_INDEX must be a whole number, 0 to 1"),
    ({"SSL_WEIGHTING_HOSTS": "w{}:1"}, "SSL_WEIGHTING_WORKERS must be set"),
])  # fmt: skip
def test_a_wrong_variable_is_named(environ, message):
    with pytest.raises(ValueError, match=message.replace("(x3)", r"\(x3\)")):
        cluster_of(environ)


def test_addresses_are_read_without_tensorflow():
    code = "import sys; import experiments.assemble.cluster; sys.exit('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


CLUSTER = ROOT / "docs" / "cluster"
# What srun does: starts each task with its variables, and ends with the worst code.
SRUN = """#!/bin/bash
echo "srun $1 $2" >> "$TOLD"
while [[ $1 == --* ]]; do shift; done
worst=0
for rank in 0 1 2; do
  SLURM_STEP_NODELIST="gpu[08-09]" SLURM_STEP_TASKS_PER_NODE="2,1" SLURM_STEP_NUM_TASKS=3 \\
  SLURM_PROCID=$rank SLURM_NODEID=$((rank / 2)) SLURM_LOCALID=$((rank % 2)) "$@" || worst=$?
done
exit $worst
"""
TASK = """#!{python}
import os, sys
sys.path.insert(0, {root!r})
from experiments.assemble.cluster import asked_cluster
with open(os.environ["TOLD"], "a") as file:
    print(*asked_cluster().addresses, asked_cluster().index, *sys.argv[1:], file=file)
sys.exit(int(os.environ["CODE"]))
"""


@pytest.mark.parametrize("code", [0, 1, 143])
def test_the_script_of_slurm_starts_workers_that_find_each_other(tmp_path, code):
    scripts = {"srun": SRUN, "task": TASK.format(python=sys.executable, root=str(ROOT))}
    scripts["scontrol"] = '#!/bin/bash\necho "scontrol $*" >> "$TOLD"\n'
    for name, text in scripts.items():
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    told = tmp_path / "told"
    environ = os.environ | {
        "PATH": f"{tmp_path}:{os.environ['PATH']}", "SLURM_SUBMIT_DIR": str(tmp_path),
        "SLURM_JOB_ID": "77", "PYTHON": "task", "TOLD": str(told), "CODE": str(code),
    }  # fmt: skip
    command = ["bash", str(CLUSTER / "train.sbatch"), "--dataset=moons", "--out=a b"]
    assert subprocess.run(command, env=environ, check=False).returncode == code
    first, *tasks = told.read_text().splitlines()
    assert first == "srun --kill-on-bad-exit=1 --distribution=block"
    requeued = tasks.pop() if code == 143 else ""
    assert requeued == ("scontrol requeue 77" if code == 143 else "")
    program = "-m experiments.train_images --workers=auto --dataset=moons --out=a b"
    where = "gpu08:20077 gpu08:20078 gpu09:20077"
    assert tasks == [f"{where} {rank} {program}" for rank in range(3)]


def test_the_job_of_kubernetes_starts_workers_that_find_each_other():
    service, job = yaml.safe_load_all((CLUSTER / "train.yaml").read_text())
    name, spec = job["metadata"]["name"], job["spec"]
    pod = spec["template"]["spec"]
    (container,) = pod["containers"]
    assert spec["completionMode"] == "Indexed" and pod["subdomain"] == service["metadata"]["name"]
    assert service["spec"]["clusterIP"] == "None" and service["spec"]["publishNotReadyAddresses"]
    assert service["spec"]["selector"] == {"batch.kubernetes.io/job-name": name}
    environ = {one["name"]: one["value"] for one in container["env"]}
    count, port = spec["completions"], container["ports"][0]["containerPort"]
    assert spec["parallelism"] == count and service["spec"]["ports"][0]["port"] == port
    for index in range(count):
        found = cluster_of(environ | {"JOB_COMPLETION_INDEX": str(index)})
        expected = [f"{name}-{k}.{pod['subdomain']}:{port}" for k in range(count)]
        assert found == (tuple(expected), index)
    check_that_refusals_alone_end(spec)
    program, *flags = container["args"]
    assert (ROOT / f"{program.replace('.', '/')}.py").exists() and "--workers=auto" in flags


def check_that_refusals_alone_end(spec):
    """A pod that a lost one ended is started again, which Kubernetes allows without restarts."""
    pod = spec["template"]["spec"]
    (rule,) = spec["podFailurePolicy"]["rules"]
    codes = rule["onExitCodes"]
    assert rule["action"] == "FailJob" and pod["restartPolicy"] == "Never"
    assert codes == {
        "containerName": pod["containers"][0]["name"], "operator": "In", "values": [FAILED],
    }  # fmt: skip
    assert FAILED not in (LOST, TERMINATED)


def test_pods_that_score_are_started_again_unless_they_are_refused():
    check_that_refusals_alone_end(yaml.safe_load((CLUSTER / "score.yaml").read_text())["spec"])


def test_the_image_holds_what_a_program_needs():
    lines = (CLUSTER / "Dockerfile").read_text().splitlines()
    copied = {path for line in lines if line.startswith("COPY") for path in line.split()[1:-1]}
    assert all((ROOT / path).exists() for path in copied), copied
    assert {"ssl_weighting", "third_party", "experiments"} < copied
