"""FixMatch's training step in PyTorch, contiguous and channels_last, with and without compiling.

Rows: step, with _channels_last and _compiled after it. BatchNorm by the batch, cross-entropy and
masked cross-entropy, SGD with Nesterov momentum (torch's form is TensorFlow 1's), weight decay of
kernels, moving average of the parameters: all in the library's own fused or grouped functions.
"""

from __future__ import annotations

import torch
from torch.nn import functional
from torch.optim.swa_utils import get_ema_multi_avg_fn

from . import torch_wrn


def build(row: str, arrays: dict):
    """Return (call, answer) of a row; see `worker`.

    Raises:
        ValueError: unknown row.
    """
    if row.removesuffix("_compiled").removesuffix("_channels_last") != "step":
        raise ValueError(f"`row` must be step, then _channels_last, _compiled. Received: {row}")
    step = Step(arrays, "_channels_last" in row, row.endswith("_compiled"))
    return step.take, lambda: step.first_losses(int(arrays["steps"]))


def versions() -> dict[str, str]:
    """Return what `torch_wrn.versions` does."""
    return torch_wrn.versions()


class Step:
    """Model, optimizer, average and batch of an exchange file (`train_step.write`).

    Args:
        arrays: the file's; channels_last: memory layout; compiled: by `torch.compile`.
    """

    def __init__(self, arrays: dict, channels_last: bool, compiled: bool):
        problem = torch_wrn.Problem(arrays, channels_last)
        self.model, self.images = problem.model.train(), problem.images
        self.label = torch.from_numpy(arrays["label"]).long()
        self.threshold = float(arrays["threshold"])
        momentum = 1 - float(arrays["batch_norm_decay"])
        for module in self.model.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.momentum = momentum
        self.params = list(self.model.parameters())
        kernels = [p for p in self.params if p.ndim > 1]
        others = [p for p in self.params if p.ndim == 1]
        decayed = {"params": kernels, "weight_decay": float(arrays["weight_decay"])}
        self.optimizer = torch.optim.SGD(
            [decayed, {"params": others}],
            lr=float(arrays["learning_rate"]),
            momentum=0.9,
            nesterov=True,
            fused=True,
        )
        self.start = [p.detach().clone() for p in self.params]
        self.average = [p.detach().clone() for p in self.params]
        self.move_average = get_ema_multi_avg_fn(float(arrays["ema_decay"]))
        self.losses = torch.compile(self._losses, dynamic=False) if compiled else self._losses

    def take(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Take one step; return both losses before it."""
        self.optimizer.zero_grad(set_to_none=True)
        labeled, unlabeled = self.losses(self.images, self.label)
        (labeled + unlabeled).backward()
        self.optimizer.step()
        with torch.no_grad():
            self.move_average(self.average, self.params, 1)
        return labeled.detach(), unlabeled.detach()

    def first_losses(self, count: int) -> dict[str, list]:
        """Start anew; return the losses of `count` steps and how far the average moved."""
        with torch.no_grad():
            for values in (self.params, self.average):
                for value, first in zip(values, self.start, strict=True):
                    value.copy_(first)
        self.optimizer.state.clear()
        losses = [[loss.item() for loss in self.take()] for _ in range(count)]
        pairs = zip(self.average, self.start, strict=True)
        moved = sum((a - b).abs().sum().item() for a, b in pairs)
        return {"losses": losses, "average_moved": moved}

    def _losses(self, images, label):
        z = self.model(images)
        b = len(label)
        weak, strong = z[b:].chunk(2)
        with torch.no_grad():
            confidence, target = weak.softmax(1).max(1)
            mask = (confidence >= self.threshold).float()
        each = functional.cross_entropy(strong, target, reduction="none")
        return functional.cross_entropy(z[:b], label), (mask * each).mean()
