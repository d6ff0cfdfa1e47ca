"""The model card of an artifact folder: what the Hugging Face Hub reads of it, and that it makes nothing up."""

from __future__ import annotations

import dataclasses
import re

import pytest
from export.own_models import keras_model, onnx_model
from huggingface_hub import ModelCard

from oddeven.export.conversion import About
from oddeven.export.model_card import model_card
from oddeven.export.onnx_model import read_onnx_model
from oddeven.runtime.artifacts.manifest import load_manifest
from oddeven.runtime.schema import from_json
from oddeven.runtime.verify.report import Report


def test_the_card_in_the_folder_is_one_that_the_hub_reads(exported):
    card, manifest = ModelCard.load(exported / "README.md"), load_manifest(exported)
    assert (card.data.library_name, card.data.pipeline_tag) == ("oddeven", "image-classification")
    assert card.data.license is None
    assert [result.metric_value for result in card.data.eval_results] == [r.parity.accuracy for r in manifest.files]
    assert {result.dataset_name for result in card.data.eval_results} == {"mnist"}
    for record in manifest.files:
        assert card.text.count(record.file) >= 2
        assert record.sha256[:16] in card.text
    assert re.search(r"\b2\d\d,\d{3}, in 2 Conv2D, 8 Dense", card.text)
    assert "not stated (`oddeven export --license`)" in card.text


@pytest.mark.parametrize("kind", ["keras", "onnx"])
def test_what_its_maker_says_of_the_model_is_in_the_card(exported, tmp_path, kind):
    model, weights = keras_model(), "4, in 1 Dense"
    if kind == "onnx":
        model, weights = read_onnx_model(onnx_model(tmp_path / "existing.onnx")), "113, in 1 Conv, 1 Gemm"
    manifest, report = load_manifest(exported), (exported.parent / "parity.json").read_bytes()
    files = from_json(Report, report, "parity.json").files
    about = About("A. Maker", "apache-2.0", "Sorts digits.", 3)
    card = ModelCard(model_card(manifest, files, model, about))
    assert card.data.license == "apache-2.0"
    assert "Sorts digits." in card.text
    assert "| author | A. Maker |" in card.text
    assert f"| weights | {weights} |" in card.text
    assert "not stated" not in card.text


def test_the_card_predicts_with_a_file_that_holds_no_code_where_there_is_one(exported):
    manifest, report = load_manifest(exported), (exported.parent / "parity.json").read_bytes()
    files = from_json(Report, report, "parity.json").files[:2]
    code = dataclasses.replace(manifest.files[0], file="my cnn.int8.zip")
    for records, expected in (
        ((code, manifest.files[0]), manifest.files[0].file),
        ((code,), "'my cnn.int8.zip' --engine c"),
    ):
        few = dataclasses.replace(manifest, files=records)
        text = model_card(few, files[: len(records)], keras_model(), About("", "", "", 1))
        assert f"oddeven predict photo.jpg --model {expected}\n" in text


def test_names_do_not_become_markup(exported):
    manifest, report = load_manifest(exported), (exported.parent / "parity.json").read_bytes()
    named = dataclasses.replace(manifest, spec=dataclasses.replace(manifest.spec, labels=("<b>no", "a*b|c")))
    about = About("A|B\nC", "", "", 1)
    text = ModelCard(model_card(named, from_json(Report, report, "parity.json").files, keras_model(), about)).text
    assert r"tells *\<b>no* from *a\*b\|c*." in text
    assert r"gives the probability of *a\*b\|c*" in text
    assert r"| author | A\|B C |" in text
