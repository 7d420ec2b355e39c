"""Which ops TensorFlow can run on a GPU, by its CUDA wheel's own registry.

    python tests/helpers/gpu_kernels.py

writes `gpu_kernels.json` beside this file. It wants an environment with `tensorflow`, the wheel
with CUDA, where it runs without a GPU too; `tensorflow-cpu` lacks these kernels. The list is
of TensorFlow 2.21.0: make it again when the lock file names another.
"""

from __future__ import annotations

import ctypes
import json
import sys
from collections.abc import Iterator
from pathlib import Path

LIST = Path(__file__).with_suffix(".json")
# A kernel for the default device serves a GPU for which the op has none of its own.
DEVICES = ("GPU", "DEFAULT")
ON_DEVICE, ON_HOST = "device", "host"


def load(path: Path = LIST) -> dict[str, list]:
    """Return op -> its kernels, each [ON_DEVICE or ON_HOST, {attribute: names of types}].

    Those `ON_HOST` read and write the memory of the host, although the op runs "on" the GPU.
    """
    return json.loads(path.read_text())["kernels"]


def fits(node, kernels: dict[str, list]) -> str | None:
    """Return where a GPU would run a node of a graph: ON_DEVICE, ON_HOST or None, not at all.

    Args:
        node: NodeDef.
        kernels: from `load`.
    """
    import tensorflow as tf

    def serves(types):
        return all(tf.as_dtype(node.attr[name].type).name in types[name] for name in types)

    places = {place for place, types in kernels.get(node.op, ()) if serves(types)}
    return next((place for place in (ON_DEVICE, ON_HOST) if place in places), None)


def nodes(graph) -> Iterator:
    """Yield the nodes of a graph and of all functions in it, with their `_output_shapes`."""
    definition = graph.as_graph_def(add_shapes=True)
    functions = {function.signature.name: function for function in definition.library.function}
    yield from (node for node in definition.node if node.op not in functions)
    for function in functions.values():
        yield from (node for node in function.node_def if node.op not in functions)


class _Buffer(ctypes.Structure):
    _fields_ = (("data", ctypes.c_void_p), ("length", ctypes.c_size_t), ("free", ctypes.c_void_p))


def _registered():
    """Return KernelList and OpList of the TensorFlow of this environment, by its C API."""
    import tensorflow as tf
    from tensorflow.core.framework import kernel_def_pb2, op_def_pb2

    library = ctypes.CDLL(str(Path(tf.sysconfig.get_lib(), "libtensorflow_cc.so.2")))
    library.TF_NewStatus.restype = ctypes.c_void_p
    library.TF_GetAllRegisteredKernels.argtypes = (ctypes.c_void_p,)
    for function in (library.TF_GetAllRegisteredKernels, library.TF_GetAllOpList):
        function.restype = ctypes.POINTER(_Buffer)
    found = []
    for message, buffer in (
        (kernel_def_pb2.KernelList(), library.TF_GetAllRegisteredKernels(library.TF_NewStatus())),
        (op_def_pb2.OpList(), library.TF_GetAllOpList()),
    ):
        message.ParseFromString(ctypes.string_at(buffer.contents.data, buffer.contents.length))
        found.append(message)
    return found


def listed() -> dict[str, list]:
    """Return what `load` returns, from the registry of this environment.

    Raises:
        ValueError: it has no arithmetic for a GPU.
    """
    import tensorflow as tf

    kernels, ops = _registered()
    # The other wheel lists some "for GPUs" too, of shapes and of control.
    if not any(kernel.op == "MatMul" and kernel.device_type == "GPU" for kernel in kernels.kernel):
        raise ValueError(
            f"tensorflow must be the wheel with CUDA. Received: {tf.sysconfig.get_lib()}, which "
            "multiplies on no GPU. Install `tensorflow` in an environment of its own"
        )
    arguments = {op.name: {a.name for a in (*op.input_arg, *op.output_arg)} for op in ops.op}
    found = {}
    for kernel in kernels.kernel:
        if kernel.device_type in DEVICES and not kernel.label:
            on_host = arguments[kernel.op] == set(kernel.host_memory_arg) != set()
            types = {
                constraint.name: {
                    tf.as_dtype(number).name for number in constraint.allowed_values.list.type
                }
                for constraint in kernel.constraint
                if constraint.allowed_values.list.type
            }
            kind = found.setdefault(kernel.op, {}).setdefault(ON_HOST if on_host else ON_DEVICE, [])
            kind.append(types)
    return {
        op: [
            [place, {name: sorted(types[name]) for name in sorted(types)}]
            for place in sorted(found[op])
            for types in _merged(found[op][place])
        ]
        for op in sorted(found)
    }


def _merged(kernels: list[dict[str, set]]) -> list[dict[str, set]]:
    """Return fewer that allow the same: two that differ in one attribute become one."""
    merged = []
    for kernel in kernels:
        for known in merged:
            if known.keys() == kernel.keys():
                apart = [name for name in known if known[name] != kernel[name]]
                if len(apart) <= 1:
                    for name in apart:
                        known[name] |= kernel[name]
                    break
        else:
            merged.append({name: set(types) for name, types in kernel.items()})
    return merged if len(merged) == len(kernels) else _merged(merged)


def main() -> None:
    """Write the list."""
    import tensorflow as tf

    lines = (f"{json.dumps(op)}: {json.dumps(found)}" for op, found in listed().items())
    text = f'{{"tensorflow": "{tf.__version__}", "kernels": {{\n' + ",\n".join(lines) + "\n}}\n"
    LIST.write_text(text)
    print(f"{LIST}: {len(text)} bytes", file=sys.stderr)


if __name__ == "__main__":
    main()
