"""torch.func: `jvp` and `vmap(grad)`, contiguous and channels_last, with and without compiling.

Rows: jvp, vmap_grad, batch_gradient, each with _channels_last and _compiled after it.
"""

from __future__ import annotations

import torch
from torch.func import functional_call, grad, jvp, vmap

from . import torch_wrn


def build(row: str, arrays: dict):
    """Return (call, answer) of a row; see `worker`.

    Raises:
        ValueError: unknown row.
    """
    way = row.removesuffix("_compiled").removesuffix("_channels_last")
    if way not in WAYS:
        raise ValueError(f"`row` must start with one of {', '.join(WAYS)}. Received: {row}")
    problem = torch_wrn.Problem(arrays, "_channels_last" in row)
    model = problem.model
    params = {name: value.detach() for name, value in model.named_parameters()}
    state = dict(model.named_buffers())

    def logits(params, images):
        return functional_call(model, (params, state), (images,))

    function = WAYS[way](problem, logits)
    if row.endswith("_compiled"):
        function = torch.compile(function, fullgraph=True, dynamic=False)

    def call():
        return function(params, problem.images, problem.cotangent)

    return call, lambda: ANSWERS[way](problem, call())


def versions() -> dict[str, str]:
    """Return what `torch_wrn.versions` does."""
    return torch_wrn.versions()


def _jvp(problem, logits):
    def function(params, images, cotangent):
        def losses(params):
            return (logits(params, images) * cotangent).sum(1)

        return jvp(losses, (params,), (problem.vector,))[1]

    return function


def _vmap_grad(problem, logits):
    def loss(params, image, cotangent):
        return (logits(params, image[None]) * cotangent).sum()

    return vmap(grad(loss), in_dims=(None, 0, 0))


def _batch_gradient(problem, logits):
    return grad(lambda params, images, cotangent: (logits(params, images) * cotangent).sum())


def _answer_batch_gradient(problem, gradient):
    total = sum((value * problem.vector[name]).sum() for name, value in gradient.items())
    return problem.logits() | {"dot_sum": total.item()}


WAYS = {"jvp": _jvp, "vmap_grad": _vmap_grad, "batch_gradient": _batch_gradient}
ANSWERS = {
    "jvp": lambda problem, dot: problem.logits() | {"dot": dot.tolist()},
    "vmap_grad": torch_wrn.Problem.answer,
    "batch_gradient": _answer_batch_gradient,
}
