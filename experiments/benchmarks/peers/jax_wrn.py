"""JAX: `jvp`, `vmap(grad)` and a plain batch gradient of the same net, each under `jit`."""

from __future__ import annotations

import os

import jax
import jax.numpy as jnp

KEYS = ("depth", "width", "image_size", "num_classes")


def build(row: str, arrays: dict):
    """Return (call, answer) of row jvp, vmap_grad or batch_gradient; see `worker`.

    Raises:
        ValueError: unknown row.
    """
    if row not in WAYS:
        raise ValueError(f"`row` must be one of {', '.join(WAYS)}. Received: {row}")
    params, state, vector = (
        {k.removeprefix(head): jnp.asarray(v) for k, v in arrays.items() if k.startswith(head)}
        for head in ("params/", "state/", "vector/")
    )
    images, cotangent = jnp.asarray(arrays["images"]), jnp.asarray(arrays["cotangent"])
    net = _net(int(arrays["depth"]), state)
    function = jax.jit(WAYS[row](net))

    def call():
        return jax.block_until_ready(function(params, vector, images, cotangent))

    def answer():
        found = ANSWERS[row](call(), vector)
        return {"logits": net(params, images).tolist()} | {k: v.tolist() for k, v in found.items()}

    return call, answer


def versions() -> dict[str, str]:
    """Return JAX's version and the number of cores that its thread pool is made for."""
    return {"jax": jax.__version__, "threads": str(len(os.sched_getaffinity(0)))}


def _net(depth, state):
    """Return (params, images [P, H, W, 3]) -> logits [P, C]."""

    def forward(params, x):
        parts = _Parts(params, state)
        x = parts.conv(x)
        for group in range(3):
            for block in range((depth - 4) // 6):
                stride = 2 if group > 0 and block == 0 else 1
                x = parts.residual(x, stride, group == block == 0)
        x = parts.activate(x).mean((1, 2))
        return x @ params["head_kernel"] + params["head_bias"]

    return forward


class _Parts:
    """Takes the arrays in the order in which they were exported."""

    def __init__(self, params, state):
        self.params, self.state, self.counts = params, state, {"conv": 0, "bn": 0}

    def key(self, kind):
        self.counts[kind] += 1
        return f"{kind}_{self.counts[kind] - 1:03d}"

    def conv(self, x, stride=1):
        key = self.key("conv")
        x = jax.lax.conv_general_dilated(
            x,
            self.params[f"{key}_kernel"],
            (stride, stride),
            "SAME",
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
        )
        return x + self.params[f"{key}_bias"]

    def activate(self, x):
        key = self.key("bn")
        scale = jax.lax.rsqrt(self.state[f"{key}_variance"] + 1e-3) * self.params[f"{key}_gamma"]
        x = (x - self.state[f"{key}_mean"]) * scale + self.params[f"{key}_beta"]
        return jax.nn.leaky_relu(x, 0.1)

    def residual(self, x, stride, activate_shortcut):
        activated = self.activate(x)
        shortcut = activated if activate_shortcut else x
        if self._shortcut_follows():
            shortcut = self.conv(shortcut, stride)
        x = self.conv(activated, stride)
        return shortcut + self.conv(self.activate(x))

    def _shortcut_follows(self):
        following = self.params[f"conv_{self.counts['conv']:03d}_kernel"]
        return following.shape[:2] == (1, 1)


def _jvp(net):
    def function(params, vector, images, cotangent):
        def losses(params):
            return (net(params, images) * cotangent).sum(1)

        return jax.jvp(losses, (params,), (vector,))[1]

    return function


def _vmap_grad(net):
    def function(params, vector, images, cotangent):
        def loss(params, image, cotangent):
            return (net(params, image[None]) * cotangent).sum()

        return jax.vmap(jax.grad(loss), (None, 0, 0))(params, images, cotangent)

    return function


def _batch_gradient(net):
    def function(params, vector, images, cotangent):
        return jax.grad(lambda params: (net(params, images) * cotangent).sum())(params)

    return function


def _contract(gradients, vector):
    flat = {name: value.reshape(len(value), -1) for name, value in gradients.items()}
    dot = sum(value @ vector[name].reshape(-1) for name, value in flat.items())
    return {"dot": dot, "norm": sum((value**2).sum(1) for value in flat.values()) ** 0.5}


WAYS = {"jvp": _jvp, "vmap_grad": _vmap_grad, "batch_gradient": _batch_gradient}
ANSWERS = {
    "jvp": lambda dot, vector: {"dot": dot},
    "vmap_grad": _contract,
    "batch_gradient": lambda gradient, vector: {
        "dot_sum": sum((value * vector[name]).sum() for name, value in gradient.items())
    },
}
