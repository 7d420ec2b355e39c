"""Columns as files: what a reader gets back, whatever the file is called."""

import os

import numpy as np
import pandas as pd
import pytest

from ssl_weighting.data.tables import write_columns

COLUMNS = {"name": ["=1+1", "b"], "lam": np.array([0.5, np.nan], np.float32), "id": np.arange(2)}


def test_in_csv_nothing_runs_and_what_is_unknown_is_empty(tmp_path):
    write_columns(tmp_path / "t.csv", COLUMNS)
    assert (tmp_path / "t.csv").read_text() == "name,lam,id\n'=1+1,0.5,0\nb,,1\n"


def test_parquet_keeps_types_in_a_file_whose_name_is_not_utf_8(tmp_path):
    path = tmp_path / os.fsdecode(b"caf\xe9.parquet")
    write_columns(path, COLUMNS)
    with open(path, "rb") as file:
        found = pd.read_parquet(file)
    pd.testing.assert_frame_equal(found, pd.DataFrame(COLUMNS), check_dtype=False)
    assert found.lam.dtype == np.float32


def test_another_ending_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"must end in \.csv or \.parquet"):
        write_columns(tmp_path / "t.txt", COLUMNS)
