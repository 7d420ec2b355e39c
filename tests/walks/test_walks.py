"""The walks from a pile of one's own data to a cleaned pile and a model, on small piles."""

import json
import subprocess
import sys

import pytest
from places import ROOT

SMALL = {
    "photos": (("--dataset=digits", "--labeled=60", "--unlabeled=200", "--test=100"), 200),
    "texts": (("--labeled=40", "--unlabeled=200", "--test=100"), 340),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", SMALL)
def test_five_commands_clean_a_pile(name, tmp_path):
    options, new = SMALL[name]
    script = ROOT / "tests" / "walks" / f"{name}.py"
    command = [sys.executable, str(script), f"--out={tmp_path}", "--worst=20", *options]
    subprocess.run(command, check=True, cwd=tmp_path, timeout=900)
    found = json.loads((tmp_path / "walk.json").read_text())
    assert len(found["commands"]) == 5
    assert 0 < found["worst"] <= 20 and found["labeled_by_predict"] == new
    assert sum(found["of_the_worst"].values()) <= found["worst"]
    assert (tmp_path / "first" / "gallery.html").stat().st_size > 10_000
    excluded = json.loads((tmp_path / "second" / "config.json").read_text())
    assert len(excluded["inputs"]["exclude"]) == 64
