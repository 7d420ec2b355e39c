"""The table of the recipe for own data: what is drawn for it, and one of its lines."""

import numpy as np
from feature_files import arrays

from experiments.benchmarks import own_recipe


def test_labels_are_balanced_and_no_row_is_drawn_twice(rng):
    x = rng.normal(size=(60, 3, 4)).astype(np.float32)
    y = np.arange(60) % 3
    labeled, labels, unlabeled = own_recipe.draw(x, y, 5, 40, 1)
    assert np.bincount(labels).tolist() == [5, 5, 5] and len(unlabeled) == 40
    drawn = np.concatenate([labeled, unlabeled])
    where = (drawn[:, None] == x[None, :, 0]).all(-1)
    assert (where.sum(1) == 1).all() and (where.sum(0) <= 1).all()
    np.testing.assert_array_equal(y[where[:15].argmax(1)], labels)
    assert not np.array_equal(labeled, own_recipe.draw(x, y, 5, 40, 2)[0])


def test_a_line_tells_the_errors_of_the_test_rows(tmp_path, monkeypatch):
    sets = arrays(n=60, unlabeled=3)
    np.savez(tmp_path / "f.npz", **sets)
    quick = {"steps": 3, "weight_decay": 0.1, "components": 2}
    methods = {"one": ({"algorithm": "supervised"}, quick)}
    monkeypatch.setattr(own_recipe, "METHODS", methods)
    ((name, errors, _),) = own_recipe.rows(tmp_path / "f.npz", 4, 20, 2)
    x, y, u = own_recipe.draw(sets["x_train"], sets["y_train"], 4, 20, 2)
    model = own_recipe.WeightedSSLClassifier("supervised", random_state=2, options=quick)
    wrong = model.fit(x, y, u).predict(sets["x_test"]) != sets["y_test"]
    assert name == "one" and len(errors) == 2
    np.testing.assert_allclose(errors[1], 100 * wrong.mean())
