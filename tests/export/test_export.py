"""The exported files against Keras itself, and the folder they lie in."""

from __future__ import annotations

import zipfile

import keras
import numpy as np
import onnx
import pytest
from conftest import SHIPPED

from oddeven.export.calibration import draw_calibration
from oddeven.export.formats import DEFAULTS, FORMATS
from oddeven.export.keras_model import load_keras_model
from oddeven.runtime.artifacts.manifest import load_manifest
from oddeven.runtime.engines.registry import open_engine
from oddeven.runtime.errors import DataError, ModelError
from oddeven.runtime.familiarity import NAME
from oddeven.runtime.files import sha256
from oddeven.runtime.schema import from_json
from oddeven.runtime.spec import ModelSpec
from oddeven.train.data.registry import load_dataset


@pytest.fixture(scope="module")
def truth(raw):
    """What Keras answers on the test pictures, without any code of ours."""
    model = keras.saving.load_model(SHIPPED / "cnn.keras")
    return model.predict(raw["x_test"][..., None] / np.float32(255), batch_size=1000, verbose=0)[0][:, 0]


def answers(path, raw):
    engine = open_engine(path)
    pixels = raw["x_test"][..., None]
    parts = np.split(pixels if engine.input.dtype == "uint8" else pixels / np.float32(255), 10)
    result = np.concatenate([engine.run(part) for part in parts])
    engine.close()
    return result


@pytest.mark.parametrize("name", [name for name, row in FORMATS.items() if row.precision == "float32"])
def test_float_files_answer_as_keras(name, exported, truth, raw):
    # Sums of at most 800 float32 products, ordered differently: 800 roundings of 2**-24 at worst.
    assert np.abs(answers(exported / FORMATS[name].file_name("cnn"), raw) - truth).max() < 800 * 2**-24


@pytest.mark.parametrize("name", [name for name, row in FORMATS.items() if row.precision == "int8" and row.default])
def test_int8_files_agree_with_keras_on_nearly_every_picture(name, exported, truth, raw):
    p = answers(exported / FORMATS[name].file_name("cnn"), raw)
    assert np.mean((p > 0.5) == (truth > 0.5)) >= 0.9995
    assert abs(np.mean((p > 0.5) == raw["y_test"] % 2) - np.mean((truth > 0.5) == raw["y_test"] % 2)) <= 0.0003


def test_int8_tflite_takes_the_pixel_as_it_is_and_is_integer_throughout(exported):
    engine = open_engine(exported / "cnn.int8.tflite")
    assert (engine.input.dtype, engine.input.zero_point, engine.output.dtype) == ("uint8", 0, "uint8")
    # Half a step over all 256 pixel values is the most that rounding could hide.
    assert abs(engine.input.scale * 255 - 1) < 0.5 / 255
    kinds = {np.dtype(tensor["dtype"]).name for tensor in engine._opened.get_tensor_details()}
    assert kinds <= {"uint8", "int8", "int32"}


def test_int8_onnx_is_qdq_per_channel(exported):
    graph = onnx.load(exported / "cnn.int8.onnx").graph
    operators = {node.op_type for node in graph.node}
    assert {"QuantizeLinear", "DequantizeLinear", "Conv"} <= operators
    scales = {i.name: onnx.numpy_helper.to_array(i) for i in graph.initializer if i.name.endswith("_scale")}
    assert any(scale.size == 32 for scale in scales.values())
    # All but the last layer of either output, which is in float.
    weights = {i.dims[-1]: i.data_type for i in graph.initializer if len(i.dims) == 2}
    assert weights == {256: onnx.TensorProto.INT8, 14: onnx.TensorProto.INT8, 1: onnx.TensorProto.FLOAT}
    kinds = sorted(i.data_type for i in graph.initializer if len(i.dims) == 2 and i.dims[-1] == 1)
    assert kinds == [onnx.TensorProto.FLOAT] * 2


@pytest.mark.parametrize("name", [f"cnn.{precision}.onnx" for precision in ("float32", "float16", "dynamic", "int8")])
def test_onnx_files_are_valid_and_named(name, exported):
    model = onnx.load(exported / name)
    onnx.checker.check_model(model, full_check=True)
    assert [i.name for i in model.graph.input] == ["image"]
    assert [o.name for o in model.graph.output] == ["probability", NAME]
    for info in (*model.graph.input, *model.graph.output):
        assert info.type.tensor_type.shape.dim[0].dim_param
    assert (model.producer_name, model.opset_import[0].version) == ("oddeven", 17)


def test_every_file_says_what_it_is(exported):
    for name in DEFAULTS:
        row = FORMATS[name]
        path = exported / row.file_name("cnn")
        engine = open_engine(path)
        spec = engine.spec
        engine.close()
        assert (spec.name, spec.labels, spec.precision) == ("cnn", ("even", "odd"), row.precision), name
        assert (spec.calibration is not None) == row.calibrated
        if row.suffix == ".tflite":
            with zipfile.ZipFile(path) as archive:
                assert archive.read("labels.txt").split() == [b"even", b"odd"]
                assert from_json(ModelSpec, archive.read("metadata.json"), name) == spec


def test_the_manifest_lists_the_files_as_they_are(exported):
    manifest = load_manifest(exported)
    assert [record.format for record in manifest.files] == list(DEFAULTS)
    for record in manifest.files:
        content = (exported / record.file).read_bytes()
        assert (record.size_bytes, record.sha256) == (len(content), sha256(content))
        assert record.parity.verdict == "PASS"
    assert {"tensorflow", "onnx", "numpy"} <= set(manifest.versions)
    assert {path.name for path in exported.iterdir()} == {
        "README.md", "manifest.json", "reference.npz", "validation.npz", "cnn.selftest.npz",
        *(record.file for record in manifest.files),
    }  # fmt: skip


def test_the_reference_holds_keras_own_answers(exported, truth, raw):
    with np.load(exported / "reference.npz") as reference:
        np.testing.assert_array_equal(reference["images"][..., 0], raw["x_test"])
        np.testing.assert_array_equal(reference["labels"], raw["y_test"] % 2)
        np.testing.assert_array_equal(reference["slices"], raw["y_test"].astype(str))
        # Keras in another process: the same sums, at most reordered.
        np.testing.assert_allclose(reference["probabilities"], truth, atol=800 * 2**-24)


def test_calibration_is_stratified_reproducible_and_from_training_pictures_only():
    data = load_dataset("mnist")
    images, record = draw_calibration(data, 500, seed=3)
    again, same = draw_calibration(data, 500, seed=3)
    assert record == same
    np.testing.assert_array_equal(images, again)
    assert draw_calibration(data, 500, seed=4)[1].sha256 != record.sha256
    training = {image.tobytes() for image in data.train.images}
    assert all(image.tobytes() in training for image in images)
    assert not {image.tobytes() for image in images} & {image.tobytes() for image in data.test.images}
    share = data.train.labels.mean()
    assert record.class_counts[1] == round(500 * share)
    assert sum(record.class_counts) == record.count == len(images) == 500
    with pytest.raises(DataError, match="1 x 60000 calibration images need"):
        draw_calibration(data, 60_000)


def test_a_model_of_another_dataset_is_refused(run, tmp_path):
    import dataclasses

    from oddeven.runtime.engines.metadata import attach_to_keras, read_spec

    spec = read_spec(SHIPPED / "cnn.keras")
    other = dataclasses.replace(spec, provenance=dataclasses.replace(spec.provenance, dataset_sha256="0" * 64))
    path = tmp_path / "cnn.keras"
    with zipfile.ZipFile(SHIPPED / "cnn.keras") as source, zipfile.ZipFile(path, "w") as target:
        for name in ("metadata.json", "config.json", "model.weights.h5"):
            target.writestr(name, source.read(name))
    with pytest.raises(ModelError, match="carries no ModelSpec"):
        load_keras_model(path)
    attach_to_keras(path, other)
    done = run("export", path, "--out", tmp_path / "out")
    assert done.returncode == 5
    assert "was trained on other data than this 'mnist'" in done.stderr


@pytest.mark.parametrize("size", [0, 100, 200_000])
def test_a_truncated_keras_file_is_one_sentence(tmp_path, size):
    path = tmp_path / "cnn.keras"
    path.write_bytes((SHIPPED / "cnn.keras").read_bytes()[:size])
    with pytest.raises(ModelError, match=r"cnn\.keras"):
        load_keras_model(path)


def test_wrong_names_are_refused_before_tensorflow_is_imported(run, tmp_path):
    done = run("export", SHIPPED / "cnn.keras", "--format", "coreml", "--out", tmp_path)
    assert done.returncode == 2
    assert f"known are {', '.join(FORMATS)}" in done.stderr
    done = run("export", tmp_path / "absent.keras", "--out", tmp_path)
    assert (done.returncode, "There is no file" in done.stderr) == (4, True)
