"""BackPACK: per-example gradients by its extension `BatchGrad`."""

from __future__ import annotations

from importlib.metadata import version

from backpack import backpack, extend
from backpack.extensions import BatchGrad

from . import torch_wrn


def build(row: str, arrays: dict):
    """Return (call, answer); see `worker`. There is one row, whatever its name."""
    problem = torch_wrn.Problem(arrays)
    model = extend(problem.model)

    def call():
        with backpack(BatchGrad()):
            (model(problem.images) * problem.cotangent).sum().backward()
        gradients = {name: p.grad_batch for name, p in model.named_parameters()}
        for p in model.parameters():  # else the next call would hold two sets
            del p.grad_batch, p.grad
        return gradients

    return call, lambda: problem.answer(call())


def versions() -> dict[str, str]:
    """Return the versions of BackPACK and torch."""
    return {"backpack-for-pytorch": version("backpack-for-pytorch")} | torch_wrn.versions()
