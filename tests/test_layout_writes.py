"""Every file is written whole: under a temporary name, then renamed."""

import pytest
from layout_rules import Source
from layout_writes import EXCEPTIONS, check_writes
from test_layout import expect_none, sources


def test_files_are_written_through_replacing():
    expect_none(finding for source in sources() for finding in check_writes(source))
    paths = {source.path for source in sources()}
    assert {path for path, _ in EXCEPTIONS} <= paths


@pytest.mark.parametrize(
    "line",
    [
        'open(path, "w")',
        'open(path, mode="ab")',
        'path.open("x")',
        'gzip.open(path, "wt")',
        "path.write_text(text)",
        "path.write_bytes(content)",
        "np.savez(path, a=a)",
        "np.save(path, a)",
        "frame.to_csv(path)",
        "frame.to_parquet(path)",
        "figure.savefig(path)",
        "model.save(path)",
        "json.dump(values, file)",
        "os.truncate(path, 0)",
    ],
)
def test_a_direct_write_is_found(line):
    text = f"def f(path):\n    with replacing(other) as temporary:\n        {line}\n"
    (finding,) = check_writes(Source("experiments/runs/a.py", text))
    assert finding.startswith("experiments/runs/a.py:3: ") and "use `replacing`" in finding


@pytest.mark.parametrize(
    "text",
    [
        "with replacing(path) as temporary:\n    np.savez(temporary, a=a)\n",
        'with replacing(path) as t, open(t, "w") as file:\n    file.write(text)\n',
        'with replacing(path) as temporary:\n    temporary.write_text("a")\n',
        'stream = io.BytesIO()\npicture.save(stream, format="PNG")\n',
        'open(path)\nopen(path, "rb")\ngzip.open(path, "rt")\nos.open(path, os.O_RDONLY)\n',
    ],
)
def test_a_careful_write_is_not(text):
    assert list(check_writes(Source("experiments/runs/a.py", text))) == []
