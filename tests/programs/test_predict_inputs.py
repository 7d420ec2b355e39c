"""Several inputs, all probabilities, streams: what one image at a time gives, each by its name."""

import csv
import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
from absl import flags
from PIL import Image
from runs import DIGITS, call, opened
from text_files import write_csv

from experiments import predict
from experiments.assemble.build import load_splits
from experiments.options.kinds import FEATURE_ROWS, IMAGES, TEXTS
from experiments.options.presets import make_config
from experiments.serving import source as serving
from experiments.serving.answers import Answers
from experiments.serving.identity import identity_of_pictures
from experiments.serving.predictor import predict as say
from experiments.serving.source import Wanted, sources
from experiments.serving.wanted import define_inputs, wanted_by
from ssl_weighting.data.images.new_images import find_images
from ssl_weighting.data.images.picture import read_picture
from ssl_weighting.data.texts.csv_rows import SKIP, Layout

NAMES = list("0123456789")


@pytest.fixture(scope="module")
def images():
    return load_splits(make_config(**DIGITS)).test.inputs[:9]


@pytest.fixture(scope="module")
def singly(unbroken, images):
    """The probabilities of each image, in a loop of one."""
    model, _ = opened(unbroken)
    return np.concatenate([say(model, image[None]) for image in images])


@pytest.fixture
def label(monkeypatch, tmp_path, unbroken):
    """Run the program; return its exit code, the header and the rows it wrote."""

    def label(*given):
        out = tmp_path / "labels.csv"
        code = call(predict, monkeypatch, f"--run={unbroken}", f"--out={out}", *map(str, given))
        with open(out, newline="", encoding="utf-8") as file:
            header, *rows = csv.reader(file)
        return code, header, rows

    return label


def save(path, image):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image[..., 0]).save(path)
    return path


def usual(name, p):
    return [str(name), NAMES[p.argmax()], f"{p.max():.4f}"]


@pytest.fixture
def inputs(tmp_path, images):
    """A folder of two images, an .npz file of three, two image files, another folder of two."""
    for k, name in enumerate(("a/x.png", "a/deep/y.png")):
        save(tmp_path / name, images[k])
    np.savez_compressed(tmp_path / "more.npz", x=images[2:5])
    for k, name in ((5, "one.png"), (6, "two.PNG"), (7, "b/x.png"), (8, "b/z.bmp")):
        save(tmp_path / name, images[k])
    return [tmp_path / name for name in ("a", "more.npz", "one.png", "two.PNG", "b")]


def test_several_inputs_are_labeled_as_each_image_alone(label, inputs, singly, monkeypatch):
    a, more, one, two, b = inputs
    names = [f"{a}/deep/y.png", f"{a}/x.png", *(f"{more}:{k}" for k in range(3)), one, two]
    names += [f"{b}/x.png", f"{b}/z.bmp"]
    rows = [usual(n, p) for n, p in zip(names, singly[[1, 0, *range(2, 9)]], strict=True)]
    assert label(*inputs) == (0, ["name", "class", "confidence"], rows)
    mixed = [f"--input=folder:{a}", f"--input=npz:{more}", one, two, f"{b}/"]
    assert label(*mixed)[2] == rows
    monkeypatch.setitem(serving.CHUNK, IMAGES, 2)  # the stream says what the whole says
    assert label(*inputs)[2] == rows


def test_one_image_is_named_by_its_path(label, inputs, singly):
    assert label(inputs[2])[2] == [usual(inputs[2], singly[5])]


def test_arrays_may_name_their_images(label, tmp_path, images, singly):
    names = np.array(["a", "=b", "c"])
    np.savez(tmp_path / "n.npz", x=images[:3], names=names)
    assert [row[0] for row in label(tmp_path / "n.npz")[2]] == ["a", "'=b", "c"]
    np.savez(tmp_path / "n.npz", x=images[:3], names=names[:2])
    with pytest.raises(
        ValueError, match=r"one for each of the 3 rows of `x`. Received: str.*\[2\]"
    ):
        sources([str(tmp_path / "n.npz")], Wanted({IMAGES: (8, 8, 1)}))


def test_all_probabilities_and_the_likeliest_classes(label, inputs, singly):
    _, header, rows = label(inputs[1], "--probabilities", "--top_k=3")
    more = ["class_2", "confidence_2", "class_3", "confidence_3"]
    assert header == ["name", "class", "confidence", *more, *(f"p_{name}" for name in NAMES)]
    for row, p in zip(rows, singly[2:5], strict=True):
        best = np.argsort(-p)[:3]
        assert row[1:7] == [cell for k in best for cell in (NAMES[k], f"{p[k]:.4f}")]
        np.testing.assert_allclose([float(x) for x in row[7:]], p, atol=1e-6)
    assert label(inputs[1], "--probabilities")[1] == ["name", "class", "confidence", *header[7:]]


@pytest.mark.parametrize("top_k", [0, 11, -1])
def test_more_classes_than_there_are_are_refused_before_any_work(
    label, inputs, capsys, monkeypatch, top_k
):
    monkeypatch.setattr(predict, "load_model", lambda *run: pytest.fail("read the model"))
    with pytest.raises(SystemExit):
        label(inputs[1], f"--top_k={top_k}")
    assert f"--top_k must be from 1 to 10, the classes of this run. Received: {top_k}" in (
        capsys.readouterr().err
    )


def test_what_cannot_be_read_is_told_behind_the_answers_of_all_inputs(label, inputs, singly):
    a, more, one, *_ = inputs
    (a / "bad.png").write_bytes(b"bad")
    one.write_bytes(one.read_bytes()[:-30])
    code, header, rows = label(a, one, more, "--top_k=2")
    assert code == predict.SKIPPED and header[3:] == ["class_2", "confidence_2", "problem"]
    assert [row[0] for row in rows[-2:]] == [f"{a}/bad.png", str(one)]
    assert [row[1:] for row in rows[-2:]] == [
        ["", "", "", "", "content of none of these formats"],
        ["", "", "", "", "image file is truncated"],
    ]
    assert [row[:3] for row in rows[2:5]] == [
        usual(f"{more}:{k}", p) for k, p in enumerate(singly[2:5])
    ]


def test_an_input_that_is_given_twice_is_refused_before_any_work(
    label, inputs, capsys, monkeypatch
):
    monkeypatch.setattr(predict, "load_model", lambda *run: pytest.fail("read the model"))
    a, _, one, *_ = inputs
    for given, name in (((a, f"{a}/"), "deep/y.png"), ((one, a, one), "one.png"),
                        ((a, a / "deep"), "deep/y.png")):  # fmt: skip
        with pytest.raises(SystemExit):
            label(*given)
        error = capsys.readouterr().err
        assert "every example a name of its own" in error and f"{name}' twice" in error


def test_texts_of_several_files_are_told_apart(tmp_path):
    one = write_csv(tmp_path / "one.csv", [("good", "x"), ("bad", "y")], ("text", "key"))
    two = write_csv(
        tmp_path / "two.csv", [("dull", "x"), ("", "y"), ("fine", "z")], ("text", "key")
    )

    def names(*given, key="key"):
        wanted = Wanted({TEXTS: ()}, Layout(id=key), SKIP)
        chunks = [c for s in sources([str(p) for p in given], wanted) for c in s.chunks()]
        skipped = [name for c in chunks for name, _ in c.skipped]
        return [name for c in chunks for name in c.names], skipped

    assert names(one) == (["x", "y"], [])
    assert names(one, two) == ([f"{one}:x", f"{one}:y", f"{two}:x", f"{two}:z"], [f"{two}:y"])
    assert names(two, key="") == (["0", "2"], ["1"])


def test_features_of_a_folder_need_no_prefix(tmp_path):
    (tmp_path / "f").mkdir()
    x = np.arange(12, dtype=np.float32).reshape(4, 3)
    np.save(tmp_path / "f" / "x.npy", x)
    np.savez(tmp_path / "g.npz", x=x, names=np.array(["a", "b", "c", "a"]))
    wanted = Wanted({FEATURE_ROWS: (3,)})
    [source] = sources([str(tmp_path / "f")], wanted)
    [chunk] = source.chunks()
    np.testing.assert_array_equal(chunk.inputs, x)
    with pytest.raises(ValueError, match=r"a name of its own. Received: 'a' twice, .*g\.npz"):
        sources([str(tmp_path / "g.npz")], wanted)


def test_inputs_of_both_kinds_fit_a_run_on_features_of_images(tmp_path, images):
    np.savez(tmp_path / "x.npz", x=np.zeros([5, 3], np.float32))
    save(tmp_path / "a" / "x.png", images[0])
    given = [f"features:{tmp_path / 'x.npz'}", str(tmp_path / "a")]
    found = sources(given, Wanted({IMAGES: (8, 8, 0), FEATURE_ROWS: (3,)}))
    assert [source.kind for source in found] == [FEATURE_ROWS, IMAGES]
    [chunk] = found[1].chunks()
    assert chunk.inputs.shape == (1, 8, 8, 3)


def test_equal_classes_keep_their_order(tmp_path):
    p = np.array([[0.25, 0.25, 0.5], [0.4, 0.4, 0.2]], np.float32)
    with Answers(str(tmp_path / "o.csv"), ["a", "b", "c"], top_k=2) as answers:
        answers.add(["x", "y"], p)
        answers.finish()
    assert (tmp_path / "o.csv").read_text().splitlines()[1:] == [
        "x,c,0.5000,a,0.2500",
        "y,a,0.4000,b,0.4000",
    ]


# Reads a file in a process of its own; prints how many MB its memory grows.
STREAM = """
import resource, sys
from experiments.options.kinds import FEATURE_ROWS, TEXTS
from experiments.serving.answers import Answers
from experiments.serving.source import Wanted, sources
import numpy as np
kind = TEXTS if sys.argv[1].endswith("csv") else FEATURE_ROWS
def most():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
before = most()
[source] = sources(sys.argv[1:2], Wanted({kind: (64,) if kind is FEATURE_ROWS else ()}))
with Answers(sys.argv[2], ["a", "b"], probabilities=True) as answers:
    for chunk in source.chunks():
        answers.add(chunk.names, np.full([len(chunk.names), 2], 0.5, np.float32))
    answers.finish()
print(answers.count, most() - before)
"""


@pytest.mark.parametrize("kind", ["csv", "npz"])
def test_large_files_need_no_memory_for_all(tmp_path, kind):
    n = 200_000
    if kind == "csv":
        text = "a rather long text " * 20
        with open(tmp_path / "large.csv", "w") as file:
            file.write("text\n" + f"{text}\n" * n)
    else:
        np.savez(tmp_path / "large.npz", x=np.zeros([n, 64], np.float32))
    command = [sys.executable, "-c", STREAM, tmp_path / f"large.{kind}", tmp_path / "o.csv"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    count, grown = done.stdout.split()
    size = (tmp_path / f"large.{kind}").stat().st_size / 2**20
    assert int(count) == n and float(grown) < 40 < size, (grown, size)


def test_other_values_of_the_same_size_are_another_input(tmp_path):
    folder, wanted = tmp_path / "rows", Wanted({FEATURE_ROWS: (4,)})
    folder.mkdir()

    def identity(x):
        np.save(folder / "x.npy", x)
        return sources([f"features:{folder}"], wanted)[0].identity()

    x = np.arange(200, dtype=np.float32).reshape(50, 4)
    first = identity(x)
    assert identity(x) == first and identity(x[::-1].copy()) != first


@pytest.mark.parametrize("size", [700, 3 * 2**16])
def test_pictures_have_an_identity_that_copies_share_and_changes_end(tmp_path, size):
    """Of the same size and name, whatever their times: another first, middle or last byte."""

    def identity(content, name="a.bmp", link=False):
        root = tmp_path / "set"
        shutil.rmtree(root, ignore_errors=True)
        root.mkdir()
        (root / name).write_bytes(content)
        os.utime(root / name, (len(seen), len(seen)))
        if link:
            (root / "z.png").symlink_to(root / "nowhere")
            os.mkfifo(root / "y.png")
        return identity_of_pictures(find_images(root))

    seen = set()
    content = bytearray(np.random.default_rng(0).bytes(size))
    seen.add(identity(content))
    assert identity(content) in seen
    for place in (0, size // 2, size - 1):
        content[place] ^= 1
        found = identity(content)
        assert found not in seen
        seen.add(found)
    assert identity(content + b"x") not in seen and identity(content, "b.bmp") not in seen
    assert identity(content, link=True) not in seen


def test_a_run_that_was_trained_on_drafts_reads_drafts(unbroken, tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64), np.uint8)
    path, given = tmp_path / "pile" / "noise.jpg", flags.FlagValues()
    path.parent.mkdir()
    Image.fromarray(noise).save(path)
    define_inputs(given)
    given.mark_as_parsed()
    config = json.loads((unbroken / "config.json").read_text())
    found = []
    for draft in (False, True):
        config["images"] = {"source": "stream", "jpeg_draft": draft}  # as a pack tells
        (source,) = sources([f"folder:{path.parent}"], wanted_by(config, given))
        (chunk,) = source.chunks()
        expected = read_picture(path, 8, draft)
        np.testing.assert_array_equal(chunk.inputs[0, ..., 0], expected)
        found.append(expected)
    assert (found[0] != found[1]).any()
    del config["images"]  # of an earlier version
    config["config"]["jpeg_draft"] = True
    assert wanted_by(config, given).draft
    del config["config"]["jpeg_draft"]
    assert not wanted_by(config, given).draft
