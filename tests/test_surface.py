"""Whatever is handed to the library: the right answer, or a refusal that has written nothing.

Wrong shapes and dtypes, nothing, NaN, infinite, tiny and huge numbers, duplicate and foreign ids,
drawn by hypothesis (always the same ones) against references in plain numpy.
"""

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf
from fuzz import fuzz
from hypothesis import strategies as st

from ssl_weighting.algorithms import FixMatch
from ssl_weighting.inverse_hessian import SolveOptions
from ssl_weighting.lambda_step import LambdaStep, LambdaStepSettings
from ssl_weighting.madam import LambdaAdam, MAdam
from ssl_weighting.structs import LabeledBatch, UnlabeledBatch
from ssl_weighting.theta.step import NonFiniteError
from ssl_weighting.weight_store import WeightStore

U = 6
RATE = float(np.float32(0.125))
NUMBERS = [0.0, 1.0, -2.5, 1e-30, -3e-20, 1e-8, 1e30, 3e38, float("nan"), float("inf")]
# Mostly what is right: else nothing but refusals would be met.
values = st.one_of(
    st.sampled_from(NUMBERS[:7]), st.floats(-9, 9, width=32), st.sampled_from(NUMBERS)
)
ids_of = st.one_of(*[st.integers(0, U - 1)] * 6, st.sampled_from([-1, -7, U, 2**31, 2**40]))
kinds = st.sampled_from(["float32"] * 6 + ["float64", "float16", "int32", "bool"])
id_kinds = st.sampled_from(["int64"] * 5 + ["int32", "float32", "uint8"])
forms = st.sampled_from([()] * 8 + [(1,), (1, 2)])  # dimensions too many


@st.composite
def updates(draw):
    """Return ids and gradients, as arrays of any kind."""
    ids = draw(st.lists(ids_of, max_size=5))
    g = draw(st.lists(values, min_size=len(ids), max_size=len(ids)))
    if draw(st.integers(0, 9)) == 0:
        g = g[1:]
    with np.errstate(all="ignore"):
        ids = np.array(ids, "int64").astype(draw(id_kinds))
        g = np.array(g, "float64").astype("float32").astype(draw(kinds))
    return ids.reshape(-1, *draw(forms)) if ids.size % 2 == 0 else ids, g


def is_right(ids, g):
    """Return whether an update may be made, as the documentation has it."""
    if ids.dtype.kind not in "iu" or g.dtype.kind != "f" or ids.ndim != 1 or ids.shape != g.shape:
        return False
    if not ((ids >= 0) & (ids < U)).all():
        return False
    with np.errstate(all="ignore"):
        return all(np.isfinite(summed(ids, g)[1]))


def summed(ids, g):
    """Return the ids in the order they came, and their float32 sums in the order they came."""
    sums = {}
    for u, value in zip(ids.tolist(), g.astype("f"), strict=True):
        sums[u] = np.float32(sums.get(u, np.float32(0)) + value)
    return list(sums), np.array(list(sums.values()), "f")


class Reference:
    """Lambda in float64, moved by the formulas of Alg. 2, Adam and SGD."""

    def __init__(self, optimizer, size):
        self.optimizer = optimizer
        self.lam, self.m, self.v, self.t = np.ones(size), *np.zeros([3, size])
        self.calls = 0

    def step(self, rows, g):
        self.calls += 1
        g, o = g.astype("float64"), self.optimizer
        if isinstance(o, keras.optimizers.SGD):
            self.lam[rows] -= RATE * g
        elif isinstance(o, LambdaAdam):
            full = np.zeros_like(self.lam)
            full[rows] = g
            self._adam(np.arange(len(full)), full, self.calls)
        else:
            moved = g != 0 if o.mask == "nonzero" else g == g
            rows, g = np.array(rows, int)[moved], g[moved]
            self.t[rows] += 1
            self._adam(rows, g, self.calls if o.step_count == "global" else self.t[rows])
        self.lam = np.clip(self.lam, 0, np.finfo("f").max)

    def _adam(self, rows, g, t):
        self.m[rows] = 0.9 * self.m[rows] + 0.1 * g
        self.v[rows] = 0.999 * self.v[rows] + 0.001 * g * g
        root = np.sqrt(self.v[rows] / (1 - 0.999**t))
        step = self.m[rows] / (1 - 0.9**t)
        self.lam[rows] -= RATE * np.divide(step, root, out=np.zeros_like(root), where=root > 0)


OPTIMIZERS = {
    "madam": lambda: MAdam(RATE),
    "membership": lambda: MAdam(RATE, mask="membership"),
    "global t": lambda: MAdam(RATE, step_count="global"),
    "adam": lambda: LambdaAdam(RATE),
    "sgd": lambda: keras.optimizers.SGD(RATE),
}


def copies(variables):
    return [v.numpy().copy() for v in variables]


def same(before, variables):
    for old, new in zip(before, variables, strict=True):
        np.testing.assert_array_equal(old, new.numpy())


@pytest.mark.parametrize("mode", ["per_example", "single"])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_weight_store(name, mode):
    @fuzz(12, batches=st.lists(updates(), min_size=2, max_size=6))
    def check(batches):
        store = WeightStore(U, mode, OPTIMIZERS[name]())
        reference = Reference(store.optimizer, 1 if mode == "single" else U)
        for ids, g in batches:
            before = copies(store.variables)
            if not is_right(ids, g):
                with pytest.raises(ValueError, match="must be"):
                    store.update(tf.constant(ids), tf.constant(g))
                same(before, store.variables)
                continue
            store.update(tf.constant(ids), tf.constant(g))
            rows, sums = summed(ids, g)
            assert store.last_influence.numpy()[rows].tolist() == sums.tolist()
            if len(rows):
                mean = tf.reduce_mean(sums).numpy()[None]
                reference.step(*(([0], mean) if mode == "single" else (rows, sums)))
            np.testing.assert_allclose(store.lam.numpy(), reference.lam, rtol=1e-5, atol=1e-5)

    check()


@pytest.mark.parametrize("name", ["madam", "membership", "global t", "adam"])
def test_optimizers_of_lambda(name):
    @fuzz(12, batches=st.lists(updates(), min_size=2, max_size=5), dense=st.booleans())
    def check(batches, dense):
        first, second = (keras.Variable(np.ones(U, "f"), name=n) for n in ("lam", "other"))
        optimizer = OPTIMIZERS[name]()
        optimizer.build([first, second])
        held = [first, second, *optimizer.variables]
        for ids, g in batches:
            if dense:
                bad = g.shape != (U,) or g.dtype.kind != "f" or not np.isfinite(g).all()
                gradient = tf.constant(g)
            else:
                bad = not is_right(ids, g)
                gradient = tf.IndexedSlices(tf.constant(g), tf.constant(ids), tf.constant([U]))
            before = copies(held)
            fine = tf.ones([U])
            if bad:  # the variable before it stays as it was, too
                with pytest.raises(ValueError, match="must be"):
                    optimizer.apply([fine, gradient], [first, second])
                same(before, held)
            else:
                optimizer.apply([fine, gradient], [first, second])
                assert np.isfinite(second.numpy()).all() and first.numpy()[0] < before[0][0]

    check()


@fuzz(40, ids=st.lists(ids_of | st.just(-1), max_size=4), kind=id_kinds, form=forms)
def test_gather(ids, kind, form):
    store = WeightStore(U, optimizer=MAdam())
    store.lam.assign(np.arange(U) + 0.5)
    ids = np.stack([ids, [-1] * len(ids)], 1).astype("int64").astype(kind)
    ids = ids.reshape(*ids.shape, *form[:1])
    right = ids.ndim == 2 and ids.dtype.kind == "i" and ((ids >= -1) & (ids < U)).all()

    def gather():
        return store.gather(tf.constant(ids), tf.ones(ids.shape), 3, tf.constant(0, tf.int64))

    if right:
        assert np.array_equal(gather(), np.where(ids < 0, 1, ids + 0.5))
    elif len(ids) or ids.ndim != 2 or kind == "float32":
        with pytest.raises(ValueError, match="`ids` must be"):
            gather()


DAMPING = 0.5


@functools.cache
def lambda_step(params):
    """A LambdaStep on a linear model of 2 features and 3 classes, once measured."""
    inputs = keras.Input([2])
    model = keras.Model(inputs, keras.layers.Dense(3, name="head")(inputs))
    for v in model.weights:
        v.assign(np.random.default_rng(0).normal(size=v.shape))
    solver = SolveOptions(damping=DAMPING, iterations=200, tolerance=1e-7)
    method = "exact" if params == "last_layer" else "conjugate_gradient"
    how = LambdaStepSettings(params, method, solver, infl_bn="moving")
    return LambdaStep(model, FixMatch(threshold=0.0), WeightStore(U, optimizer=MAdam(RATE)), how)


def eq6(step, labeled, unlabeled, validation):
    """Return dL_S(V)/d lambda by id, in numpy; lambda is what the store holds."""
    w = np.concatenate([v.numpy() for v in step.parameters.variables][:1]).astype("float64")
    b = step.parameters.variables[1].numpy().astype("float64")

    def parts(x, q=None):
        x = np.asarray(x, "float64")
        z = x @ w + b
        p = np.exp(z - z.max(1, keepdims=True))
        p /= p.sum(1, keepdims=True)
        phi = np.c_[x, np.ones(len(x))]
        return phi, p, np.eye(3)[p.argmax(1)] if q is None else np.eye(3)[q]

    ids = unlabeled.ids.numpy()
    lam, h = step.store.table().numpy()[ids].astype("float64"), DAMPING * np.eye(9)
    target = parts(unlabeled.weak)[2].argmax(1)
    for x, factor in ((labeled.inputs, np.ones(len(labeled.label)) / len(labeled.label)),
                      (unlabeled.strong, lam / len(ids))):  # fmt: skip
        phi, p, _ = parts(x)
        s = np.einsum("rc,cd->rcd", p, np.eye(3)) - p[:, :, None] * p[:, None]
        h += np.einsum("r,ri,rj,rcd->icjd", factor, phi, phi, s).reshape(9, 9)
    phi, p, q = parts(validation.inputs, validation.label.numpy())
    v = np.linalg.solve(h, (phi.T @ (p - q) / len(p)).ravel())
    phi, p, q = parts(unlabeled.strong, target)
    scores = -np.einsum("ri,rc,ic->r", phi, p - q, v.reshape(3, 3))
    return {int(u): scores[ids == u].sum() for u in dict.fromkeys(ids.tolist())}


@st.composite
def batches_of(draw):
    """Return D', U', V' of 3, 4 and 3 examples, one of them spoilt in about half of the draws."""
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    sizes = {"d": 3, "w": 4, "s": 4, "v": 3}  # labeled, weak, strong, validation
    parts = {f"{k} x": rng.normal(size=[n, 2]).astype("f") for k, n in sizes.items()}
    parts |= {f"{k} y": rng.integers(0, 3, 3).astype("i4") for k in "dv"}
    parts["ids"] = rng.integers(0, U, 4)  # duplicates and all
    if draw(st.booleans()):
        where = draw(st.sampled_from(sorted(parts)))
        value = parts[where]
        if draw(st.booleans()):
            cut = draw(st.sampled_from([np.s_[:0], np.s_[:1], np.s_[:, None], np.s_[None]]))
            parts[where] = value[cut]
        else:
            wrong = NUMBERS[-2:] if where.endswith("x") else [-1, -7, U, 10**6]
            value[rng.integers(len(value))] = draw(st.sampled_from(wrong))
    t = {k: tf.constant(v) for k, v in parts.items()}
    labeled, validation = LabeledBatch(t["d x"], t["d y"]), LabeledBatch(t["v x"], t["v y"])
    return labeled, UnlabeledBatch(t["ids"], t["w x"], t["s x"]), validation


@pytest.mark.parametrize("params", ["last_layer", "all"])
def test_lambda_step(params):
    step = lambda_step(params)
    seen = set()

    @fuzz(24, batches=batches_of())
    def check(batches):
        before = copies(step.store.variables)
        try:
            measured = step.measure(*batches, 0)
            expected = eq6(step, *batches)
            step.apply(measured)
        except (ValueError, NonFiniteError) as refusal:
            assert any(word in str(refusal) for word in ("must ", "non-finite", "incompatible"))
            same(before, step.store.variables)
            seen.add(type(refusal))
            return
        seen.add("right")
        assert measured.ids.numpy().tolist() == list(expected)
        g = np.array(list(expected.values()))
        np.testing.assert_allclose(measured.lam_gradient, g, rtol=1e-3, atol=1e-5 * abs(g).max())
        moved = step.store.table().numpy() != before[0]
        assert set(np.flatnonzero(moved)) <= set(expected)

    check()
    assert seen == {ValueError, NonFiniteError, "right"}
