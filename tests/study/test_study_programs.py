"""The study's programs: what counts as done, what is left out, what is written."""

import dataclasses

import pytest
import reporting_runs as made
import runs
from study_rows import row

from experiments import make_study, run_profile, run_study
from experiments.options.config import Config, options_as_json
from experiments.study import plan as study_plan
from experiments.study.families import STUDY
from experiments.study.plan import chosen, is_recorded, key_of, options_hash, plans
from experiments.study.rows import read_rows, rows_text
from ssl_weighting.theta.step import NonFiniteError

FAMILY = "fashion_mnist_v160"


def recorded(config, **fields):
    """A line of the record for this very run."""
    family, method, seed = key_of(config)
    options = options_hash(options_as_json(config))
    return row(method, seed, 30.0, family, **{"options": options} | fields)


def test_the_hash_is_of_what_was_computed():
    one, other = chosen(FAMILY, "here", "", "*/fixed_1")[:2]
    same = dataclasses.replace(one, out="elsewhere", data_dir="D", resume=False, log_every=1)
    same = dataclasses.replace(same, jit=not one.jit)
    hashes = [options_hash(options_as_json(c)) for c in (one, same, other)]
    assert hashes[0] == hashes[1] != hashes[2]
    older = options_as_json(one)
    del older["validation"]  # an option that did not exist when the run was made
    assert options_hash(older) == hashes[0]
    assert options_hash(older | {"validation": "cross_fit"}) != hashes[0]
    assert Config().validation == "held_out"


def test_plans_hold_every_run_of_the_profile():
    found = {plan.name: plan for plan in plans()}
    assert list(found) == list(STUDY)
    plan = found["fashion_mnist_v160_damping"]
    assert (plan.reference, plan.variant, plan.secondary) == (FAMILY, "damping", True)
    assert found["fashion_mnist_v40"].reference == "" and not found[FAMILY].secondary
    (config, *_) = chosen(FAMILY, "r", "", "*/cross_fit")
    assert found[FAMILY].seeds_of("cross_fit") == [1, 2, 3]
    assert found[FAMILY].seeds_of("oracle") == found[FAMILY].seeds_of("tuned") == [1, 2, 3, 4, 5]
    assert found[FAMILY].options["cross_fit", 1] == options_hash(options_as_json(config))


def test_one_v_serves_all_seeds_unless_it_is_drawn_by_the_seed():
    assert {c.val_seed for c in chosen(FAMILY, "r", "", "*/fixed_1")} == {0}
    for family in ("imdb_v20", f"{FAMILY}_other_v"):
        found = chosen(family, "r", "", "*/fixed_1")
        assert [(c.seed, c.val_seed) for c in found] == [(1, 1), (2, 2), (3, 3)]


def test_only_names_families_and_methods():
    found = run_study.wanted("r", "DATA", "cifar10_*,fashion_mnist_v10/fixed_*")
    assert list(found) == ["fashion_mnist_v10", "cifar10_v1024", "cifar10_v50"]
    assert {key_of(c)[1] for c in found["fashion_mnist_v10"]} == {"fixed_0.3", "fixed_1", "fixed_3"}
    folders = {name: {c.data_dir for c in configs} for name, configs in found.items()}
    assert folders["cifar10_v50"] == {"DATA"} and folders["fashion_mnist_v10"] == {""}
    (reviews,) = run_study.wanted("r", "DATA", "imdb_*/fixed_1").values()
    assert {c.data_dir for c in reviews} == {"DATA"}
    assert run_profile.program_of(reviews[0]) == "train_text"
    with pytest.raises(ValueError, match=r"--only must match a family or FAMILY/METHOD.*=nope"):
        run_study.wanted("r", "", "nope")


def test_a_set_of_texts_without_a_source_says_why(tmp_path):
    config = chosen("imdb_v20", "r", str(tmp_path), "*/fixed_1")[0]
    assert "aclImdb" in run_study.unavailable(config, None)


@pytest.fixture
def walk(monkeypatch, tmp_path):
    """Return a walk of two families in which training only says what it would train."""
    trained = []

    def execute(config, program, cache_dir, again):
        if "stop" in walk.told and trained:
            return None
        if "diverge" in walk.told and config.seed == 2:
            raise NonFiniteError("not finite at step 7")
        trained.append(key_of(config))
        return {}

    monkeypatch.setattr(run_study, "execute", execute)
    monkeypatch.setattr(
        run_study, "unavailable", lambda c, cache: "no source" if c.dataset == "cifar10" else ""
    )
    record = tmp_path / "runs.csv"
    only = f"--only={FAMILY}/fixed_1,cifar10_v50/fixed_1"
    arguments = (only, f"--out={tmp_path}", f"--record={record}")

    def walk(*told):
        walk.told = told
        trained.clear()
        return runs.call(run_study, monkeypatch, *arguments, *[t for t in told if "--" in t])

    walk.trained, walk.record, walk.told = trained, record, ()
    return walk


def test_a_walk_trains_what_is_neither_finished_nor_recorded(walk, tmp_path, capsys):
    one, two, three, *_ = chosen(FAMILY, str(tmp_path), "", "*/fixed_1")
    walk.record.write_text(rows_text([recorded(one), recorded(two, options="other")]))
    folder = f"study/{FAMILY}/fixed_1/seed_3"
    made.write_run(
        tmp_path, folder, algorithm="fixmatch", config={"config": options_as_json(three)}
    )
    assert walk("--dry_run") == 0 and walk.trained == []
    assert f"study: 2 of 5 runs done, about 1.5 h to go at the pace of 2 runs ({FAMILY})" in (
        capsys.readouterr().out
    )
    assert walk("--dry_run", "--record=") == 0, "nothing that was made elsewhere counts"
    assert f"study: 1 of 5 runs done, about 0.0 h to go at the pace of 1 runs ({FAMILY})" in (
        capsys.readouterr().out
    )
    assert walk() == 0
    assert walk.trained == [(FAMILY, "fixed_1", seed) for seed in (2, 4, 5)]
    out = capsys.readouterr().out
    assert f"{FAMILY}/fixed_1/1: already in runs.csv, skipped" in out
    assert f"{FAMILY}/fixed_1/3: finished before, skipped" in out
    assert "cifar10_v50 left out, no data: no source" in out
    assert out.rstrip().endswith("study: 5 of 10 runs done")


def test_a_walk_stops_when_told_and_survives_divergence(walk, capsys):
    assert walk("stop") == 143 and walk.trained == [(FAMILY, "fixed_1", 1)]
    assert walk("diverge") == run_study.DIVERGED == 3, "as run_all.sh has it"
    assert [key[2] for key in walk.trained] == [1, 3, 4, 5]
    assert "fixed_1/seed_2 FAILED: not finite at step 7" in capsys.readouterr().out


def test_a_profile_skips_what_the_record_holds(monkeypatch, tmp_path, capsys):
    configs = chosen("cifar10_v50", str(tmp_path), "", "*/fixed_1")
    record = tmp_path / "runs.csv"
    record.write_text(rows_text(map(recorded, configs[:4])))
    monkeypatch.setattr(run_profile, "RECORD", record)
    trained = []
    monkeypatch.setattr(run_profile, "train", lambda config: trained.append(config.seed) or {})
    arguments = ("--profile=study", "--family=cifar10_v50", "--only=fixed_1", f"--out={tmp_path}")
    assert runs.call(run_profile, monkeypatch, *arguments) == 0
    assert trained == [5]
    assert capsys.readouterr().out.count("already in runs.csv, skipped") == 4


def test_make_study_reads_folders_and_keeps_the_record(monkeypatch, tmp_path, capsys):
    (one, two, *_) = chosen(FAMILY, "x", "", "*/fixed_1")
    out = tmp_path / "docs"
    out.mkdir()
    (out / "runs.csv").write_text(rows_text([recorded(one, commit="old"), recorded(two)]))
    made.write_run(
        tmp_path, f"study/{FAMILY}/fixed_1/seed_1", algorithm="fixmatch", error=25.0,
        dataset="fashion_mnist", config={"config": options_as_json(one)},
    )  # fmt: skip
    unfinished = tmp_path / f"study/{FAMILY}/fixed_1/seed_3"
    unfinished.mkdir()
    (unfinished / "summary.json").write_text('{"status": "running"}')
    runs.call(make_study, monkeypatch, f"--runs={tmp_path / 'study'}", f"--out={out}")
    rows = read_rows(out / "runs.csv")
    assert {key: r.test_error for key, r in rows.items()} == {
        (FAMILY, "fixed_1", 1): 25.0, (FAMILY, "fixed_1", 2): 30.0,
    }  # fmt: skip
    assert rows[FAMILY, "fixed_1", 1].commit == "old"
    assert is_recorded(one, rows) and is_recorded(two, rows)
    assert "2 of " in capsys.readouterr().out
    assert "| base (λ = 1) | 27.50 ± 3.54 |" in (out / f"families/{FAMILY}.md").read_text()
    assert "| cifar10\\_v50 | primary |" in (out / "method.md").read_text()


def test_make_study_refuses_a_folder_that_is_not_there(monkeypatch, tmp_path, capsys):
    with pytest.raises(SystemExit):
        runs.call(make_study, monkeypatch, f"--runs={tmp_path / 'typo'}", f"--out={tmp_path}")
    assert "`--runs` must name a folder with FAMILY/METHOD/seed_N" in capsys.readouterr().err
    assert not list(tmp_path.iterdir()), "no page without runs"


def test_the_record_in_the_repository_is_of_the_study_s_options():
    """A change that gives the same options another hash would have everybody train it all again."""
    assert study_plan.RECORD.parent.name == "study" and study_plan.RECORD.name == "runs.csv"
    rows, options = read_rows(study_plan.RECORD), {p.name: p.options for p in plans()}
    strange = [k for k, row in rows.items() if options[k[0]].get(k[1:]) != row.options]
    assert len(rows) > 300 and not strange
