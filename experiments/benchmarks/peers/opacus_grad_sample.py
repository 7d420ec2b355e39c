"""Opacus: per-example gradients by its `GradSampleModule`."""

from __future__ import annotations

from importlib.metadata import version

import torch
from opacus import GradSampleModule
from opacus.grad_sample import register_grad_sampler

from . import torch_wrn


class InferenceNorm(torch.nn.BatchNorm2d):
    """BatchNorm by its moving statistics even where `training` is set."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return gamma * (x - mean) / sqrt(variance + epsilon) + beta, [P, c, H, W]."""
        return torch.nn.functional.batch_norm(
            x, self.running_mean, self.running_var, self.weight, self.bias, False, 0.0, self.eps
        )


@register_grad_sampler(InferenceNorm)
def norm_rule(layer, activations, backprops) -> dict:
    """Return the per-example gradients of gamma and beta, [P, c] each."""
    place = (None, slice(None), None, None)
    scale = torch.rsqrt(layer.running_var + layer.eps)[place]
    normal = (activations[0] - layer.running_mean[place]) * scale
    return {layer.weight: (backprops * normal).sum((2, 3)), layer.bias: backprops.sum((2, 3))}


def build(row: str, arrays: dict):
    """Return (call, answer); see `worker`. There is one row, whatever its name."""
    problem = torch_wrn.Problem(arrays)
    # Opacus refuses BatchNorm, whose batch statistics would mix the examples, and its hooks rest in
    # inference mode: so training mode, with norms that keep to their moving statistics.
    for module in problem.model.modules():
        if type(module) is torch.nn.BatchNorm2d:
            module.__class__ = InferenceNorm
    model = GradSampleModule(problem.model.train(), loss_reduction="sum", strict=False)

    def call():
        (model(problem.images) * problem.cotangent).sum().backward()
        gradients = {name: p.grad_sample for name, p in problem.model.named_parameters()}
        model.zero_grad(set_to_none=True)  # else the next call would hold two sets
        return gradients

    return call, lambda: problem.answer(call())


def versions() -> dict[str, str]:
    """Return the versions of Opacus and torch."""
    return {"opacus": version("opacus")} | torch_wrn.versions()
