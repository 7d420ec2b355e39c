"""The Wide-ResNet of `ssl_weighting.models.wide_resnet` as PyTorch modules, from exported arrays.

Keys of the arrays: conv_000_kernel [h, w, i, o], conv_000_bias [o], bn_000_{gamma, beta, mean,
variance} [c], head_kernel [d, C], head_bias [C], numbered in the order of construction.
BatchNorm stands in inference mode, with epsilon 1e-3.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

# BatchNorm's parameters go by other names in torch.
NAMES = {"kernel": "weight", "gamma": "weight", "bias": "bias", "beta": "bias"}


class WideResNet(nn.Module):
    """Stem, three groups of pre-activation blocks, BN, mean pool, head; NCHW in, logits out.

    Args:
        depth, width, image_size, num_classes: as `wide_resnet` takes them.
    """

    def __init__(self, depth: int, width: int, image_size: int, num_classes: int):
        super().__init__()
        parts = _Parts(image_size)
        self.stem = parts.conv(3, 16, 3, 1)
        blocks, channels = [], 16
        for group in range(3):
            filters = 16 * width * 2**group
            for block in range((depth - 4) // 6):
                stride = 2 if group > 0 and block == 0 else 1
                first = group == block == 0
                blocks.append(_Residual(parts, channels, filters, stride, first))
                channels = filters
        self.blocks = nn.Sequential(*blocks)
        self.activate = parts.activate(channels)
        self.pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.head = nn.Linear(channels, num_classes)
        parts.name("head", self.head)
        self.named_parts = parts.named

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return logits [P, C] of images [P, 3, H, W]."""
        return self.head(self.pool(self.activate(self.blocks(self.stem(x)))))

    def places(self) -> dict[str, str]:
        """Return array key -> name of the parameter in `named_parameters()`."""
        modules = {id(module): name for name, module in self.named_modules()}
        return {
            f"{key}_{ours}": f"{modules[id(module)]}.{theirs}"
            for key, module in self.named_parts
            for ours, theirs in NAMES.items()
            if (ours in ("gamma", "beta")) == isinstance(module, nn.BatchNorm2d)
            if ours == "bias" or hasattr(module, theirs)
        }


class _Residual(nn.Module):
    def __init__(self, parts, channels, filters, stride, activate_shortcut):
        super().__init__()
        self.activate_shortcut = activate_shortcut
        self.activate = parts.activate(channels)
        change = channels != filters or stride != 1
        size = parts.size
        self.shortcut = parts.conv(channels, filters, 1, stride) if change else nn.Identity()
        parts.size = size
        self.first = parts.conv(channels, filters, 3, stride)
        self.activate_second = parts.activate(filters)
        self.second = parts.conv(filters, filters, 3, 1)

    def forward(self, x):
        activated = self.activate(x)
        shortcut = self.shortcut(activated if self.activate_shortcut else x)
        return shortcut + self.second(self.activate_second(self.first(activated)))


class _Parts:
    """Makes the layers in the order of the exported arrays and remembers their keys."""

    def __init__(self, size):
        self.size, self.named, self.counts = size, [], {"conv": 0, "bn": 0}

    def name(self, key, module):
        self.named.append((key, module))

    def conv(self, channels, filters, kernel, stride):
        out = -(-self.size // stride)
        total = max((out - 1) * stride + kernel - self.size, 0)
        before, after = total // 2, total - total // 2
        self.size = out
        even = before == after
        conv = nn.Conv2d(channels, filters, kernel, stride, padding=before if even else 0)
        self._count("conv", conv)
        # TensorFlow's padding "same" puts the odd row and column at the end.
        pad = nn.ZeroPad2d((before, after, before, after))
        return conv if even else nn.Sequential(pad, conv)

    def activate(self, channels):
        norm = nn.BatchNorm2d(channels, eps=1e-3)
        self._count("bn", norm)
        return nn.Sequential(norm, nn.LeakyReLU(0.1))

    def _count(self, kind, module):
        self.name(f"{kind}_{self.counts[kind]:03d}", module)
        self.counts[kind] += 1


def turned(key: str, value: np.ndarray) -> torch.Tensor:
    """Return an exported array with the axes of its torch parameter: OIHW, [C, d]."""
    if key.endswith("kernel"):
        value = value.transpose((3, 2, 0, 1) if value.ndim == 4 else (1, 0))
    return torch.from_numpy(np.ascontiguousarray(value))


class Problem:
    """Model, batch, cotangent and vector of an exchange file, loaded into torch.

    Args:
        arrays: see `experiments.benchmarks.exchange`.
        channels_last: whether images and kernels lie in memory as NHWC.

    Attributes:
        model: `WideResNet` in inference mode; images [P, 3, H, W]; cotangent [P, C];
        vector: parameter name -> tensor shaped like it.
    """

    def __init__(self, arrays: dict[str, np.ndarray], channels_last: bool = False):
        shape = {k: int(arrays[k]) for k in ("depth", "width", "image_size", "num_classes")}
        self.layout = torch.channels_last if channels_last else torch.contiguous_format
        self.model = WideResNet(**shape)
        self.places = self.model.places()
        with torch.no_grad():
            params = dict(self.model.named_parameters())
            for key, name in self.places.items():
                params[name].copy_(turned(key, arrays[f"params/{key}"]))
            for key, module in self.model.named_parts:
                if isinstance(module, nn.BatchNorm2d):
                    module.running_mean.copy_(torch.from_numpy(arrays[f"state/{key}_mean"]))
                    module.running_var.copy_(torch.from_numpy(arrays[f"state/{key}_variance"]))
        self.model.eval().to(memory_format=self.layout)
        images = torch.from_numpy(arrays["images"]).permute(0, 3, 1, 2)
        self.images = images.contiguous(memory_format=self.layout)
        self.cotangent = torch.from_numpy(arrays["cotangent"])
        self.vector = {
            name: self.laid_out(turned(key, arrays[f"vector/{key}"]))
            for key, name in self.places.items()
        }

    def laid_out(self, value: torch.Tensor) -> torch.Tensor:
        """Return a kernel in this problem's memory layout, anything else as it is."""
        return value.contiguous(memory_format=self.layout) if value.ndim == 4 else value

    def answer(self, gradients: dict[str, torch.Tensor]) -> dict[str, list]:
        """Return logits, dot products and gradient norms of per-example gradients.

        Args:
            gradients: parameter name -> [P, ...].
        """
        with torch.no_grad():
            flat = {name: value.flatten(1) for name, value in gradients.items()}
            dot = sum(value @ self.vector[name].reshape(-1) for name, value in flat.items())
            norm = sum(value.square().sum(1) for value in flat.values()).sqrt()
        return self.logits() | {"dot": dot.tolist(), "norm": norm.tolist()}

    def logits(self) -> dict[str, list]:
        """Return {"logits": [P][C]}."""
        with torch.no_grad():
            return {"logits": self.model(self.images).tolist()}


def versions() -> dict[str, str]:
    """Return torch's version and number of threads."""
    return {"torch": torch.__version__, "threads": str(torch.get_num_threads())}
