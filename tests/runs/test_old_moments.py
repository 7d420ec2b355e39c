"""Runs of versions that held less of Lambda's state are read, and go on."""

import json
import shutil

import numpy as np
import pandas as pd
import runs
from runs import DIGITS

from experiments.compare_runs import newest_checkpoint
from experiments.options.config import config_from_json
from experiments.options.presets import make_config
from experiments.runs.beginning import changed_options
from ssl_weighting.checkpointing import Checkpoints, read


def test_an_unfinished_run_goes_on_and_says_what_starts_anew(tmp_path, capsys):
    unbroken, workshop = runs.unbroken_run()
    copy = shutil.copytree(unbroken, tmp_path / "copy")
    *_, before, newest = Checkpoints(copy / "checkpoints", {}).paths()
    newest.unlink()
    manifest, state = read(before)
    names = {role: next(k for k in state if k.endswith(f"lam_{role}")) for role in "mvt"}
    row = int(np.flatnonzero(state[names["t"]])[0])
    visits = next(name for name in state if name.endswith("/visits"))
    state[visits] = state[visits].astype("int32")
    state[names["v"]] = state[names["v"]].astype("float32")
    state[names["m"]][row], state[names["v"]][row] = 1e-20, 0  # its square was lost
    manifest["fingerprint"]["madam_epsilon"] = 1e-18  # the default of then
    manifest["fingerprint"] |= {"checkpoint_every": 7, "log_every": 3}  # compared then
    Checkpoints(copy / "checkpoints", manifest["fingerprint"]).save(manifest["step"], state)
    assert runs.run(copy, workshop, **DIGITS)["status"] == "complete"
    out = capsys.readouterr().out
    assert "second moments of Λ in float32" in out and ": 1 of them were too small" in out
    ours, whole = (newest_checkpoint(folder)[1] for folder in (copy, unbroken))
    assert ours[names["v"]].dtype == "float64"
    assert ours[visits].dtype == "float32"
    np.testing.assert_array_equal(ours[visits], whole[visits])
    assert ours[names["t"]][row] == whole[names["t"]][row] - state[names["t"]][row]
    others = np.arange(len(ours[names["t"]])) != row
    np.testing.assert_array_equal(ours[names["t"]][others], whole[names["t"]][others])
    np.testing.assert_allclose(ours[names["v"]][others], whole[names["v"]][others], rtol=0.1)


def test_a_checkpoint_without_influences_a_visit_leaves_them_unknown(tmp_path, capsys):
    unbroken, workshop = runs.unbroken_run()
    copy = shutil.copytree(unbroken, tmp_path / "copy")
    *_, before, newest = Checkpoints(copy / "checkpoints", {}).paths()
    newest.unlink()
    manifest, state = read(before)
    old = {k: v for k, v in state.items() if "/influence_" not in k}
    assert len(state) - len(old) == 2
    visits = next(v for k, v in old.items() if k.endswith("/visits"))
    visits[::2] = 0
    Checkpoints(copy / "checkpoints", manifest["fingerprint"]).save(manifest["step"], old)
    assert runs.run(copy, workshop, **DIGITS)["status"] == "complete"
    said = f"of the {(visits > 0).sum()} examples that were visited before they stay unknown"
    assert said in capsys.readouterr().out
    table = pd.read_parquet(copy / "example_weights.parquet")
    known = (visits == 0) & (table.visits > 0).to_numpy()
    assert known.any() and not table.suspect[visits > 0].any()
    assert table.influence_mean[known].notna().all()
    assert table[["influence_mean", "influence_error"]][visits > 0].isna().all(axis=None)


def test_the_default_of_then_asks_for_what_the_default_asks_for_today(tmp_path):
    config = make_config(dataset="moons", out=str(tmp_path))
    folder = shutil.copytree(runs.unbroken_run()[0], tmp_path / "run")
    saved = json.loads((folder / "config.json").read_text())
    mine = config_from_json(saved["config"] | {"out": str(folder)})
    for epsilon, changed in ((1e-18, 0), (1e-8, 1), (config.madam_epsilon, 0)):
        saved["config"]["madam_epsilon"] = epsilon
        (folder / "config.json").write_text(json.dumps(saved))
        assert len(changed_options(mine)) == changed
