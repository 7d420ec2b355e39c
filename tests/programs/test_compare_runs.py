"""`compare_runs` calls two runs the same only if they are, to the last bit."""

import numpy as np
import pandas as pd
import pytest
from runs import next_float, rewrite

from experiments import compare_runs
from experiments.compare_runs import compare_states, differences, newest_checkpoint
from ssl_weighting.checkpointing import Checkpoints

ROLES = {
    "theta": "params/0005/", "EMA": "ema/0005/", "BatchNorm statistic": "non_trainable/0001/",
    "optimizer slot": "theta_optimizer/0005/", "optimizer clock": "theta_optimizer/0000/",
    "lambda": "/lam", "m": "/lam_m", "v": "/lam_v", "t": "/lam_t", "visits": "/visits",
    "influence": "/last_influence", "count of Lambda-steps": "lambda_steps",
}  # fmt: skip


@pytest.mark.parametrize("role", ROLES)
def test_one_ulp_is_a_difference(unbroken, copy, role):
    _, state = newest_checkpoint(copy)
    names = [k for k in state if k.startswith(ROLES[role]) or k.endswith(ROLES[role])]
    assert len(names) == 1
    rewrite(copy, state)
    assert differences(unbroken, copy) == []
    rewrite(copy, state | {names[0]: next_float(state[names[0]])})
    size = state[names[0]].size
    assert differences(unbroken, copy) == [f"{names[0]}: 1 of {size} entries differ"]


def test_one_ulp_of_any_array_is_a_difference(unbroken):
    _, state = newest_checkpoint(unbroken)
    assert len(state) > 100
    for name, value in state.items():
        found = compare_states(state, state | {name: next_float(value)})
        assert found == [f"{name}: 1 of {value.size} entries differ"]


def test_arrays_are_compared_by_their_bits():
    a = {"x": np.float32([0.0, np.nan, 1.0])}
    assert compare_states(a, {"x": np.float32([0.0, np.nan, 1.0])}) == []
    assert compare_states(a, {"x": np.float32([-0.0, np.nan, 1.0])}) == ["x: 1 of 3 entries differ"]
    assert compare_states(a, {"y": a["x"]}) == [
        "x: only in one of the two",
        "y: only in one of the two",
    ]
    assert compare_states(a, {"x": a["x"][None]}) == ["x: float32(3,) against float32(1, 3)"]
    assert compare_states(a, {"x": a["x"].astype("f8")}) == ["x: float32(3,) against float64(3,)"]


LINES = {
    "one digit": lambda rows: [rows[0][:-9] + "0" * 8 + rows[0][-1], *rows[1:]],
    "the first missing": lambda rows: rows[1:],
    "one amid missing": lambda rows: rows[:7] + rows[8:],
    "the last missing": lambda rows: rows[:-1],
    "one doubled": lambda rows: rows[:7] + rows[6:],
    "the last doubled": lambda rows: rows + rows[-1:],
    "two exchanged": lambda rows: [*rows[:3], rows[4], rows[3], *rows[5:]],
    "an empty one": lambda rows: [*rows, ""],
}


@pytest.mark.parametrize("change", LINES)
def test_one_line_is_a_difference(unbroken, copy, change):
    path = copy / "metrics.jsonl"
    rows = path.read_text().splitlines()
    path.write_text("".join(f"{row}\n" for row in LINES[change](rows)))
    found = differences(unbroken, copy)
    assert len(found) == 1 and found[0].startswith("metrics.jsonl")


def test_a_missing_line_break_is_a_difference(unbroken, copy):
    path = copy / "metrics.jsonl"
    path.write_bytes(path.read_bytes()[:-1])
    assert len(differences(unbroken, copy)) == 1


@pytest.mark.parametrize(
    "column", ["lam", "visits", "pseudo_label", "confidence", "last_influence"]
)
def test_one_changed_weight_is_a_difference(unbroken, copy, column):
    path = copy / "example_weights.parquet"
    table = pd.read_parquet(path)
    table.to_parquet(path, index=False)
    assert differences(unbroken, copy) == []
    row = int(np.flatnonzero(table.visits)[0])
    values = table[column].to_numpy().copy()
    values[row:] = next_float(values[row:])
    table.assign(**{column: values}).to_parquet(path, index=False)
    assert differences(unbroken, copy) == [
        f"example_weights.parquet {column}: 1 of {len(table)} entries differ"
    ]


def test_missing_rows_columns_and_files_are_differences(unbroken, copy):
    path = copy / "example_weights.parquet"
    table = pd.read_parquet(path)
    table[:-1].to_parquet(path, index=False)
    assert len(differences(unbroken, copy)) == len(table.columns)
    table.drop(columns="lam").to_parquet(path, index=False)
    assert differences(unbroken, copy) == ["example_weights.parquet lam: only in one of the two"]
    path.unlink()
    assert differences(unbroken, copy) == ["example_weights.parquet: only in one of the two"]


def test_another_step_is_a_difference(unbroken, copy):
    Checkpoints(copy / "checkpoints", {}).paths()[-1].unlink()
    assert differences(unbroken, copy)[0] == "step: 24 against 18"


def test_the_program_tells_by_its_exit_code(unbroken, copy, capsys, tmp_path):
    assert compare_runs.main(["compare_runs", str(unbroken), str(copy)]) == 0
    assert capsys.readouterr().out == "identical: checkpoint, metrics and weights\n"
    (copy / "metrics.jsonl").write_text("")
    assert compare_runs.main(["compare_runs", str(unbroken), str(copy)]) == 1
    assert capsys.readouterr().out.startswith("metrics.jsonl line 1: ")
    with pytest.raises(SystemExit) as caught:
        compare_runs.main(["compare_runs", str(unbroken), str(tmp_path / "none")])
    assert caught.value.code == 1
    assert "must be a run folder. Received: no checkpoint in it" in capsys.readouterr().err
    with pytest.raises(Exception, match="Two run folders must be given"):
        compare_runs.main(["compare_runs", str(unbroken)])
