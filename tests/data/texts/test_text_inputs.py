"""What a text run refuses, or says, of what it is given: words, paraphrases, memory, sizes of V."""

import csv
import dataclasses
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import runs
from absl import flags
from memory_limits import limit_memory
from text_runs import tiny_options

from experiments import train_text, write_originals
from experiments.assemble import build, text_data
from experiments.options.effects import refuse_without_effect
from experiments.options.flags import given
from experiments.options.presets import make_config
from experiments.runs.state import fingerprint
from ssl_weighting.data.texts import back_translation
from ssl_weighting.data.texts.hidden_states import HiddenStates
from ssl_weighting.data.texts.tokens import load_encoder


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return tiny_options(tmp_path_factory.mktemp("text")) | {"text_copies": 1}


def splits_of(tiny, **options):
    return build.load_splits(make_config(**tiny | {"out": "unused"} | options))


def write_paraphrases(folder, texts, change):
    back_translation.write_originals(folder, texts)
    para = folder / "unsup_in" / "sample_0.9" / "para"
    para.mkdir(parents=True, exist_ok=True)
    (para / "para_0.txt").write_text("".join(f"{change(text)}\n" for text in texts), "utf-8")
    return str(folder)


def swapped(text):
    return " ".join(reversed(text.split()))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, r"`bert` must be a folder with config.json.*without config.json"),
        ("{", r"config.json must describe a BERT"),
        ({"hidden_act": "silu"}, r"config.json must have a hidden_act of gelu.* Received: 'silu'"),
    ],
)
def test_a_config_that_does_not_fit_is_told_by_its_file(tiny, tmp_path, content, message):
    file = Path(shutil.copytree(tiny["bert"], tmp_path / "bert")) / "config.json"
    old = json.loads(file.read_text())
    file.unlink()
    if content is not None:
        file.write_text(content if isinstance(content, str) else json.dumps(old | content))
    with pytest.raises((OSError, ValueError), match=message):
        splits_of(tiny, bert=str(file.parent))


def test_the_help_of_texts_shows_their_defaults():
    values = flags.FlagValues()
    train_text.define_flags(values)
    assert (values["algorithm"].value, values["steps"].value) == ("uda", 10_000)
    assert values["labeled_batch"].value == 8
    assert given(values) == {}, "what is shown is not given"


def test_views_in_lower_case_are_told_where_the_bert_knows_capitals(tiny, tmp_path):
    bert = shutil.copytree(tiny["bert"], tmp_path / "bert")
    line = "strong views are in lower case, which --bert=bert distinguishes from upper case"
    assert line not in splits_of(tiny, bert=str(bert)).notes
    settings = {"tokenizer_class": "BertTokenizer", "do_lower_case": False}
    (bert / "tokenizer_config.json").write_text(json.dumps(settings))
    assert line in splits_of(tiny, bert=str(bert)).notes
    assert line not in splits_of(tiny, bert=str(bert), algorithm="supervised").notes


def test_a_folder_without_words_is_refused(tiny, tmp_path):
    """transformers makes a tokenizer of five special tokens there, for which all words are one."""
    folder = shutil.copytree(tiny["bert"], tmp_path / "bert")
    (folder / "vocab.txt").unlink()
    with pytest.raises(OSError, match=r"neither tokenizer\.json nor vocab\.txt is there"):
        load_encoder(str(folder))


def test_a_tokenizer_of_more_words_than_the_net_is_refused(tiny, tmp_path):
    folder = shutil.copytree(tiny["bert"], tmp_path / "bert")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"vocab_size": 15}))
    with pytest.raises(ValueError, match=r"no more than 15 words.*Received: 24 words"):
        splits_of(tiny, bert=str(folder))


def test_an_algorithm_s_copies_are_no_part_of_the_split(tiny, monkeypatch):
    """Longer copies leave more padding; the texts are the same, and runs on them comparable."""
    tiny = tiny | {"max_len": 24}

    class Longer:
        recipe = "longer"

        def copies(self, texts, numbers):
            return ([f"{text} {text}" for text in texts] for _ in numbers)

    plain = splits_of(tiny, algorithm="supervised")
    monkeypatch.setattr(text_data, "augmentation", lambda config: Longer())
    long = splits_of(tiny, algorithm="uda")
    assert long.labeled.inputs.shape[1] > plain.labeled.inputs.shape[1]
    assert long.split_hash == plain.split_hash
    other = dataclasses.replace(plain, test=plain.test.take(np.arange(1, len(plain.test))))
    assert other.split_hash != plain.split_hash


def test_what_paraphrases_change_is_counted(tiny, tmp_path):
    texts = list(splits_of(tiny, algorithm="supervised").unlabeled.texts)
    folder = write_paraphrases(
        tmp_path / "some", texts, lambda t: "" if t == texts[3] else swapped(t)
    )
    found = splits_of(tiny, back_translation_dir=folder)
    changed = (found.augmented[:, 0] != found.unlabeled.inputs).any(axis=1).sum()
    assert 0 < changed < len(texts)
    assert found.notes == (
        f"strong views: {changed} of {len(texts)} by back-translation, the others unchanged",
    )
    empty = write_paraphrases(tmp_path / "none", texts, lambda text: "")
    with pytest.raises(ValueError, match=f"Received: none of {len(texts)} that differs"):
        splits_of(tiny, back_translation_dir=empty)


@pytest.mark.parametrize("trainable", [0, 1])
def test_a_run_does_not_go_on_with_other_paraphrases_or_another_bert(tiny, tmp_path, trainable):
    texts = list(splits_of(tiny, algorithm="supervised").unlabeled.texts)
    folder = write_paraphrases(tmp_path / "bt", texts, swapped)
    bert = shutil.copytree(tiny["bert"], tmp_path / "bert")
    options = {"back_translation_dir": folder, "bert": str(bert)}
    options["bert_trainable_layers"] = trainable

    def made(**other):
        config = make_config(**tiny | options | other | {"out": str(tmp_path / "out")})
        run = build.build(config, build.load_splits(config))
        return fingerprint(config, run)

    first = made()
    assert made() == first
    moved = shutil.copytree(bert, tmp_path / "elsewhere")
    assert made(bert=str(moved)) == first
    write_paraphrases(tmp_path / "bt", texts, lambda text: f"{swapped(text)} .")
    second = made()
    assert {k for k in first if first[k] != second[k]} == {"inputs"}
    from safetensors.numpy import load_file, save_file

    weights = load_file(bert / "model.safetensors")
    weights["encoder.layer.0.output.dense.bias"] += 1
    save_file(weights, bert / "model.safetensors")
    third = made()
    assert {k for k in second if second[k] != third[k]} == {"inputs"}


def test_a_run_goes_on_wherever_the_same_texts_stand(tiny, tmp_path):
    """Names of columns, delimiter and place of the file are no part of what a run computes."""
    with open(tiny["dataset"].removeprefix("csv:"), newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))[1:]
    path = tmp_path / "reviews.csv"
    lines = [f'"{text}";{label};{k}' for k, (text, label) in enumerate(rows)]
    path.write_text("\n".join(["body;stars;key", *lines]))
    other = {"dataset": f"csv:{path}", "text_column": "body", "label_column": "stars"}
    prints = []
    for options in ({}, other, other | {"id_column": "key", "delimiter": "semicolon"}):
        config = make_config(**tiny | options | {"out": "unused"})
        prints.append(fingerprint(config, build.build(config, build.load_splits(config))))
    assert prints[0] == prints[1] == prints[2]


def test_the_list_to_paraphrase_has_the_texts_of_any_layout(tmp_path, monkeypatch):
    lines = [f"text {k};{k % 2}" for k in range(20)]
    (tmp_path / "mine.csv").write_text("\n".join(["body;stars", *lines, " ;", "free;"]))
    given = [f"--dataset=csv:{tmp_path / 'mine.csv'}", f"--back_translation_dir={tmp_path}"]
    layout = ["--text_column=body", "--label_column=stars", "--delimiter=semicolon"]
    assert runs.call(write_originals, monkeypatch, *given, *layout) in (None, 0)
    listed = (tmp_path / "unsup_in" / "originals.txt").read_text("utf-8").splitlines()
    assert len(listed) == 17 and listed[-1] == "free"
    with pytest.raises(SystemExit):
        runs.call(write_originals, monkeypatch, *given, *layout, "--on_error=stop")


def test_the_program_writes_the_list_to_paraphrase(tiny, tmp_path, monkeypatch, capsys):
    flags = (f"--dataset={tiny['dataset']}", f"--back_translation_dir={tmp_path}")
    assert runs.call(write_originals, monkeypatch, *flags) in (None, 0)
    listed = (tmp_path / "unsup_in" / "originals.txt").read_text("utf-8").splitlines()
    assert f"{len(listed)} texts" in capsys.readouterr().out
    for seed in (1, 2):
        assert set(splits_of(tiny, seed=seed).unlabeled.texts) <= set(listed)
    with pytest.raises(SystemExit):
        runs.call(write_originals, monkeypatch, "--dataset=digits", "--back_translation_dir=x")
    assert "Received: --dataset=digits" in capsys.readouterr().err


@pytest.mark.parametrize("options", [{"algorithm": "supervised"}, {"weighting": "fixed"}])
def test_a_run_without_v_is_refused_before_it_trains(tiny, options):
    config = make_config(**tiny | options | {"val_size": 0, "out": "unused"})
    splits = build.load_splits(config)
    assert len(splits.validation) == 0
    with pytest.raises(ValueError, match=r"--val_size must be greater than 0.*validation_as_lab"):
        build.build(config, splits)
    advised = dataclasses.replace(config, val_size=4, validation_as_labels=True)
    assert len(build.build(advised, build.load_splits(advised)).splits.labeled) == 4 + 4


def test_hidden_states_beyond_the_memory_are_refused_before_they_are_made(monkeypatch, tmp_path):
    tokens, lines = np.arange(1, 41, dtype=np.int32).reshape(10, 4), []

    def never(tokens):
        raise AssertionError("encoded")

    sizes = {"SC_PHYS_PAGES": 1, "SC_PAGE_SIZE": 1919}  # 3 x 10 texts x 4 tokens x 8 x 2 bytes
    monkeypatch.setattr(os, "sysconf", sizes.get)
    with pytest.raises(ValueError, match=r"of 10 texts, 3 copies, must fit in memory"):
        HiddenStates([tokens], never, 8, "r", None, lines.append)
    # A machine that would hold them, and a container that does not.
    monkeypatch.setattr(os, "sysconf", {"SC_PHYS_PAGES": 2, "SC_PAGE_SIZE": 1920}.get)
    limit_memory(monkeypatch, tmp_path, 1919)
    with pytest.raises(ValueError, match=r"must fit in memory"):
        HiddenStates([tokens], never, 8, "r", None, lines.append)
    limit_memory(monkeypatch, tmp_path, "max")
    with pytest.raises(AssertionError, match="encoded"):
        HiddenStates([tokens], never, 8, "r", None, lines.append)


def test_warm_ups_keep_their_share_of_a_run_of_texts():
    found = make_config(dataset="imdb", steps=300)
    assert (found.lr_warmup_steps, found.lambda_warmup_steps) == (30, 30)
    assert make_config(dataset="imdb", steps=300, lr_warmup_steps=7).lr_warmup_steps == 7
    whole, base = make_config(dataset="imdb"), make_config(dataset="imdb", algorithm="supervised")
    assert (whole.lr_warmup_steps, whole.lambda_warmup_steps) == (1000, 1000)
    assert base.lr_warmup_steps == 300, "UDA's script for its supervised base"


def test_the_smoke_form_of_a_deep_bert_fits_the_small_one():
    assert (
        make_config(dataset="imdb", smoke=True, bert_trainable_layers=8).bert_trainable_layers == 5
    )


def test_the_smoke_form_looks_back_on_the_steps_that_it_has():
    options = {"optimizer": "adam", "weight_decay": 0.0, "inverse_hessian": "unrolled"}
    found = make_config(dataset="imdb", smoke=True, solve_iterations=5, **options)
    assert found.solve_iterations == found.inner_steps == 2


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"back_translation_dir": "x"}, "text_augment"),
        ({"algorithm": "supervised"}, "text_augment_p"),
        ({"algorithm": "pseudo_label"}, "text_augment_p"),
        ({"text_augment": "none"}, "text_copies"),
    ],
)
def test_options_of_replacement_need_replacement(options, name):
    with pytest.raises(ValueError, match=f"--{name} would do nothing here"):
        refuse_without_effect(make_config(dataset="imdb", **options), [name])
