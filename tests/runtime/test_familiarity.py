"""The second output: what a raw score means, which image is unknown, and files whose output and spec disagree."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from oddeven.runtime.classifier import Classifier
from oddeven.runtime.engines.contract import Engine
from oddeven.runtime.engines.quantization import TensorInfo
from oddeven.runtime.engines.registry import check_familiarity
from oddeven.runtime.errors import ModelError, UsageError
from oddeven.runtime.familiarity import familiarities
from oddeven.runtime.parity.check import FAIL, PASS
from oddeven.runtime.parity.known import compare_known, known_check
from oddeven.runtime.prediction import UNKNOWN, as_fields, as_row
from oddeven.runtime.schema import from_json, to_json
from oddeven.runtime.spec import Familiarity, InputSpec, ModelSpec, Provenance

MEANING = Familiarity((-1.0, 0.0, 3.0), (0.0, 0.01, 1.0))
SPEC = ModelSpec(
    "parts", ("bad", "good"), InputSpec(2, 2, 1, preprocessing="raw"), Provenance("d", "0" * 64, "r", 1, 0, {}),
    min_familiarity=0.01, familiarity=MEANING,
)  # fmt: skip


class Scripted(Engine):
    """An engine whose outputs are written down; the first pixel chooses among them."""

    name, package = "scripted", "numpy"
    input = TensorInfo("image", (-1, 2, 2, 1), "float32")

    def __init__(self, p, raw, dtype="float32", scale=0.0, zero_point=0):
        self.spec, self._p, self._raw = SPEC, np.array(p, dtype), np.array(raw, dtype)
        self.output = TensorInfo("probability", (-1, 1), dtype, 1 / 256 if scale else 0.0)
        self.familiarity = TensorInfo("raw_familiarity", (-1, 1), dtype, scale, zero_point)

    def invoke(self, batch):
        """The outputs for images whose first pixel is their number."""
        chosen = np.round(batch[:, 0, 0, 0] * 255).astype(int)
        return self._p[chosen][:, None], self._raw[chosen][:, None]

    def close(self):
        """Nothing to free."""


def images(count):
    made = np.full((count, 2, 2, 1), 200, np.uint8)
    made[:, 0, 0, 0] = np.arange(count)
    return made


def test_a_raw_score_is_read_between_the_points():
    np.testing.assert_allclose(familiarities(np.array([-9, -0.5, 0, 1.5, 9]), MEANING), [0, 0.005, 0.01, 0.505, 1],
                               rtol=1e-6)  # fmt: skip


def test_a_score_that_is_no_number_is_refused():
    with pytest.raises(ModelError, match="not a number"):
        familiarities(np.array([1.0, np.nan]), MEANING)


@pytest.mark.parametrize(
    ("scores", "shares"),
    [((0.0,), (0.5,)), ((0.0, 1.0), (0.5,)), ((1.0, 1.0), (0.0, 1.0)), ((0.0, 1.0), (0.5, 0.4)),
     ((0.0, 1.0), (0.0, 1.1)), ((0.0, float("nan")), (0.0, 1.0))],
)  # fmt: skip
def test_points_that_do_not_rise_are_refused(scores, shares):
    with pytest.raises(ValueError, match=r"rise together|zip"):
        Familiarity(scores, shares)


def test_a_spec_carries_it_and_one_of_before_has_none():
    assert from_json(ModelSpec, to_json(SPEC), "here") == SPEC
    before = json.loads(to_json(SPEC))
    del before["familiarity"], before["min_familiarity"]
    read = from_json(ModelSpec, json.dumps(before), "here")
    assert (read.familiarity, read.min_familiarity) == (None, 0.0)


@pytest.mark.parametrize("engine", [
    Scripted([0.9, 0.9, 0.2], [-0.5, 1.5, 3.0]),
    Scripted([230, 230, 51], [5, 25, 40], "uint8", 0.1, 10),
])  # fmt: skip
def test_an_image_of_too_little_familiarity_is_unknown(engine):
    classifier = Classifier(engine, SPEC, lambda: engine)
    singly = [classifier.predict(image) for image in images(3)]
    assert [found.label for found in singly] == [UNKNOWN, "good", "bad"]
    assert [found.familiarity for found in singly] == pytest.approx([0.005, 0.505, 1.0], abs=1e-6)
    assert "0.0050, is below 0.01" in singly[0].reason
    assert not singly[1].reason
    assert list(classifier.predict_batch(images(3))) == singly
    p, known = classifier.scores(images(3))
    assert (len(p), known.tolist()) == (3, [found.familiarity for found in singly])


def test_the_least_familiarity_of_zero_calls_none_unknown():
    engine = Scripted([0.9], [-5.0])
    classifier = Classifier(engine, replace(SPEC, min_familiarity=0.0), lambda: engine)
    found = classifier.predict(images(1)[0])
    assert (found.label, found.familiarity) == ("good", 0.0)


def test_json_and_csv_have_it_behind_the_probability():
    engine = Scripted([0.9], [0.0])
    found = Classifier(engine, SPEC, lambda: engine).predict(images(1)[0])
    assert list(as_fields("a.png", found)) == ["file", "label", "probability", "familiarity", "scores"]
    assert as_row("a.png", found, SPEC.labels)[2:4] == ["0.900000", "0.010000"]
    without = found._replace(familiarity=None)
    assert "familiarity" not in as_fields("a.png", without)
    assert as_row("a.png", without, SPEC.labels)[3] == ""


def test_an_output_that_is_not_a_number_is_an_error_of_the_model():
    engine = Scripted([0.9], [np.nan])
    with pytest.raises(ModelError, match="not a number"):
        Classifier(engine, SPEC, lambda: engine).predict(images(1)[0])


@pytest.mark.parametrize(
    ("change", "message"),
    [({"familiarity": None}, "promises a familiarity"),
     ({"spec": replace(SPEC, familiarity=None)}, "two outputs"),
     ({"familiarity": TensorInfo("raw_familiarity", (-1, 2), "float32")}, "one score of familiarity")],
)  # fmt: skip
def test_a_file_and_its_spec_must_agree(change, message, tmp_path):
    engine = Scripted([0.9], [0.0])
    check_familiarity(tmp_path / "good.tflite", engine, engine.spec)
    vars(engine).update(change)
    with pytest.raises(ModelError, match=message):
        check_familiarity(tmp_path / "bad.tflite", engine, engine.spec)


def test_a_limit_for_a_model_that_cannot_tell_is_refused():
    tiny = "tests/data/tiny.int8.tflite"
    with pytest.raises(UsageError, match="does not tell"):
        Classifier.load(tiny, min_familiarity=0.01)
    with pytest.raises(UsageError, match="below 1"):
        Classifier.load(tiny, min_familiarity=1.0)
    Classifier.load(tiny, min_familiarity=0.0).close()


def test_changed_decisions_are_counted_and_judged():
    before, after = np.full(1000, 0.5, np.float32), np.full(1000, 0.5, np.float32)
    before[:10], after[5:15] = 0.001, np.linspace(0.001, 0.009, 10)
    known = compare_known(before, after, 0.01, 0.95)
    assert (known.changed, known.unknown, known.reference_unknown) == (10, 0.01, 0.01)
    assert known.changed_low < 0.01 < known.changed_high
    assert [found.position for found in known.most_unknown] == [14, 13, 12, 11, 10, 9, 8, 7]
    assert {found.familiarity for found in known.least_known} == {0.5}
    assert known_check(known, 1000, 0.99).verdict == PASS
    assert known_check(compare_known(before, 1 - before, 0.01, 0.95), 1000, 0.99).verdict == PASS
    assert known_check(compare_known(before, np.zeros_like(before), 0.01, 0.95), 1000, 0.99).verdict == FAIL
