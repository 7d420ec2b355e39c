"""What a finished run takes as new inputs, known from its config.json without TensorFlow."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from absl import flags

from experiments.options.backbone import NO_BACKBONE
from experiments.options.config import recorded_option
from experiments.options.kinds import IMAGES, TEXTS, Kind, kind_of
from experiments.runs.image_reading import has_drafts
from experiments.runs.run_files import RunError
from experiments.runs.saved_model import kind_of_run
from experiments.serving.source import Wanted
from ssl_weighting.data.texts.csv_rows import AUTO, DELIMITERS, SKIP, STOP, USUAL, Layout


def backbone_kind(config: Mapping[str, Any]) -> Kind | None:
    """Return the kind of data whose features a run was trained on; None: it has no backbone.

    Args:
        config: as of `read_run`.

    Raises:
        RunError: config.json lacks what it says of such a run.
    """
    options = config["config"]
    if options.get("backbone", NO_BACKBONE) == NO_BACKBONE:
        return None
    kind, inputs = kind_of(recorded_option(options, "dataset")), config.get("inputs") or {}
    side = str(inputs.get("image_size", ""))
    if "backbone" not in inputs or (kind is IMAGES and not side.isdecimal()):
        raise RunError(
            "config.json of a run with --backbone must say in `inputs` what made its features, "
            f"`backbone` and `image_size`. Received: {inputs}"
        )
    return kind


def define_inputs(values: flags.FlagValues) -> None:
    """Define --input and the flags that `wanted_by` reads."""
    text = "folder:PATH or packed:DIR of images, npz:FILE or features:FILE with x, or csv:FILE with"
    text += " a column text; or just a path. May be repeated"
    flags.DEFINE_multi_string("input", [], text, values)
    flags.DEFINE_string("text_column", "", "csv: column of texts; the run's if not given", values)
    flags.DEFINE_string("id_column", "", "csv: column of names for the answers", values)
    flags.DEFINE_enum("delimiter", AUTO, [AUTO, *DELIMITERS], "csv: between columns", values)
    text = "at an image or a text that cannot be read, and of `score` at a score that is not finite"
    flags.DEFINE_enum("on_error", SKIP, (SKIP, STOP), text, values)


def wanted_by(config: Mapping[str, Any], given: flags.FlagValues) -> Wanted:
    """Return what the model of a run takes, and how the flags say that files are read.

    Args:
        config: as of `read_run`.
        given: with `define_inputs`.

    Raises:
        RunError: as `backbone_kind`.
    """
    kind, raw = kind_of_run(config), backbone_kind(config)
    sizes = {kind: tuple(config["input_shape"])}
    if raw is IMAGES:
        side = int(config["inputs"]["image_size"])
        # Before the features that they become: a path may be either, and pictures come first.
        sizes = {IMAGES: (side, side, 0)} | sizes
    elif raw is not None:
        sizes = {raw: ()} | sizes
    options = {"text_column": USUAL.text} | config["config"]  # of before
    column = given.text_column
    if TEXTS in sizes and not column:
        column = recorded_option(options, "text_column")
    layout = Layout(column or USUAL.text, id=given.id_column, delimiter=given.delimiter)
    return Wanted(sizes, layout, given.on_error, has_drafts(config))
