"""The file of --exclude: lists and tables, and what is refused before anything heavy is loaded."""

import pandas as pd
import pytest

from experiments.assemble.excluded import digest_of_excluded, names_in
from experiments.options.presets import make_config
from ssl_weighting.data.csv_cells import csv_of


def written(tmp_path, content, name="list.txt"):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return str(path)


def test_one_name_a_line(tmp_path):
    text = "\ufeffunlabeled/ä b.png\r\n\r\n row, 17 \nx_unlabeled[3]"
    expected = ["unlabeled/ä b.png", " row, 17 ", "x_unlabeled[3]"]
    assert names_in(written(tmp_path, text)) == expected


def test_the_column_of_a_table_as_we_write_it(tmp_path):
    names = ["=1+1.png", "a,b.png", 'say "x".png', "two\nlines", "-3"]
    rows = [("lam", "name"), *((0.5, name) for name in names)]
    assert names_in(written(tmp_path, csv_of(rows), "worst.csv")) == names


def test_the_column_of_a_parquet_file(tmp_path):
    names = ["=1+1.png", "two\nlines", "ä.png"]
    pd.DataFrame({"lam": [0.5, 0.6, 0.7, 0.8], "name": [*names, None]}).to_parquet(
        tmp_path / "worst.parquet"
    )
    assert names_in(str(tmp_path / "worst.parquet")) == names
    pd.DataFrame({"id": [1], "lam": [0.5]}).to_parquet(tmp_path / "worst.parquet")
    with pytest.raises(ValueError, match=r"a \.parquet file with a column `name`.*columns id, lam"):
        names_in(str(tmp_path / "worst.parquet"))


def test_the_digest_is_of_the_set_of_names(tmp_path):
    def digest(text):
        path = written(tmp_path, text)
        return digest_of_excluded(make_config(dataset="digits", out="x", exclude=path))["exclude"]

    assert digest("a\nb") == digest("b\na\nb") != digest("a")
    assert digest_of_excluded(make_config(dataset="digits", out="x")) == {}


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("list.txt", "\n\n", "with the name of an example in each line"),
        (
            "worst.csv",
            "id,lam\n3,0.5\n",
            "column `name`. Received: .*csv with the columns id",
        ),
        ("worst.csv", "name\n", "with the name of an example in each line"),
        ("list.txt", b"\xff\xfe", "must name a UTF-8 file"),
        ("worst.csv", 'name\n"open', "must name a table"),
        ("worst.parquet", b"PAR1 no table PAR1", "must name a table"),
        ("worst.parquet", b"", "must name a table"),
    ],
)
def test_files_without_names_are_refused(tmp_path, name, content, message):
    with pytest.raises(ValueError, match=message):
        names_in(written(tmp_path, content, name))


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"must name a file. Received: .*nowhere"):
        names_in(str(tmp_path / "nowhere"))
