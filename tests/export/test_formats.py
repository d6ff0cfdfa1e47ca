"""All formats: reproducible to the byte, any batch size, stable names; and the options that change a file."""

from __future__ import annotations

import dataclasses
import shutil
from importlib.metadata import version

import keras
import numpy as np
import onnx
import pytest
from ai_edge_litert.interpreter import Interpreter
from conftest import SHIPPED

from oddeven.export.conversion import Conversion
from oddeven.export.export import Settings, export_model
from oddeven.export.formats import FORMATS
from oddeven.runtime.engines.metadata import read_spec
from oddeven.runtime.engines.quantization import dequantize
from oddeven.runtime.engines.registry import open_engine
from oddeven.runtime.familiarity import NAME
from oddeven.runtime.parity.policy import Policy
from oddeven.train.data.registry import load_dataset

TFLITE = [name for name, row in FORMATS.items() if row.suffix == ".tflite"]
ONNX = [name for name, row in FORMATS.items() if row.suffix == ".onnx"]
HERE = ("tflite-int8", "onnx-int8", *(name for name, row in FORMATS.items() if not row.default))


@pytest.fixture(scope="module")
def few():
    """The real task with 200 test pictures: parity takes no time, and the files are the same."""
    data = load_dataset("mnist")
    return dataclasses.replace(data, test=data.test.take(slice(200)))


@pytest.fixture(scope="module")
def made(few, exported, tmp_path_factory):
    """The folder of the shipped cnn in all formats, those of `HERE` made in this process after another model.

    The verdicts are lenient: a file that did not pass on few images would be looked into.
    """
    out = tmp_path_factory.mktemp("formats")
    for name, formats in (("mlp", ("tflite-float32", "onnx-int8")), ("cnn", HERE)):
        settings = Settings(formats, Policy(max_drop_pp=100, max_upper_pp=100, min_agreement=0))
        export_model(SHIPPED / f"{name}.keras", few, settings, out / name, lambda _: None, pytest.fail)
    for path in exported.iterdir():
        if not (out / "cnn" / path.name).exists():
            shutil.copy(path, out / "cnn")
    return out / "cnn"


@pytest.fixture(scope="module")
def convert(raw, tmp_path_factory):
    """Write the shipped cnn in one format, with options of `Conversion`; the file's path."""
    pictures = raw["x_train"][:200, ..., None] / np.float32(255)

    def one(name, **options):
        model, row = keras.saving.load_model(SHIPPED / "cnn.keras", compile=False), FORMATS[name]
        spec = dataclasses.replace(read_spec(SHIPPED / "cnn.keras"), precision=row.precision)
        path = tmp_path_factory.mktemp(name) / row.file_name("cnn")
        path.write_bytes(row.convert(Conversion(model, spec, pictures, **options)))
        return path

    return one


def answers(path, pixels):
    engine = open_engine(path)
    result = engine.run(pixels if engine.input.dtype == "uint8" else pixels / np.float32(255))
    engine.close()
    return result


def raw_scores(engine, batch):
    """The second output, float32 (N,)."""
    return dequantize(engine.invoke(batch)[1], engine.familiarity).ravel()


def errors_of(batch, probabilities, scores, float_file):
    """The largest differences from the float file, of probabilities and of raw scores."""
    engine = open_engine(float_file)
    exact, exact_scores = engine.run(batch), raw_scores(engine, batch)
    engine.close()
    return np.abs(probabilities - exact).max(), np.abs(scores - exact_scores).max()


@pytest.mark.parametrize("name", [name for name in HERE if FORMATS[name].default])
def test_equal_models_give_equal_bytes_in_two_processes(name, made, exported):
    file = FORMATS[name].file_name("cnn")
    assert (exported / file).read_bytes() == (made / file).read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name, row in FORMATS.items() if not row.default])
def test_equal_models_give_equal_bytes_in_one_process(name, made, few, tmp_path):
    export_model(SHIPPED / "cnn.keras", few, Settings((name,)), tmp_path, lambda _: None, pytest.fail)
    file = FORMATS[name].file_name("cnn")
    assert (tmp_path / file).read_bytes() == (made / file).read_bytes()


@pytest.mark.parametrize("name", FORMATS)
def test_a_batch_of_any_size_is_answered_as_one_by_one(name, made, raw):
    path, pixels = made / FORMATS[name].file_name("cnn"), raw["x_test"][:256, ..., None]
    engine = open_engine(path, FORMATS[name].engine)
    assert engine.input.shape == (-1, 28, 28, 1)
    assert engine.output.shape[0] == -1
    assert (engine.familiarity.name, engine.familiarity.shape) == (NAME, (-1, 1))
    batch = pixels if engine.input.dtype == "uint8" else pixels / np.float32(255)
    singly = np.concatenate([engine.run(batch[i : i + 1]) for i in range(256)])
    raw_singly = np.concatenate([raw_scores(engine, batch[i : i + 1]) for i in range(256)])
    # Sums of at most 801 products in another order: in float32, or in float16 of 2**-11 where the file computes
    # in it. Quantized sums are exact integers; but a rounding step may tip, 1/256 of the probability.
    limit = {"float32": 801 * 2**-24, "float16": 2**-8}.get(FORMATS[name].precision, 1.5 / 256)
    raw_limit = 6 * limit  # a score of 0 to 6, so 6 times as wide as a probability
    if name == "onnx-dynamic":
        # ONNX Runtime rounds to 255 steps of the range of the whole batch, so its error grows with that range: here to
        # 3.4 times the error of single images, which the float file tells. Both errors may add up.
        limit, raw_limit = (4 * error for error in errors_of(batch, singly, raw_singly, made / "cnn.float32.onnx"))
    # Up, down and up again, since an interpreter that has been resized must be resized back.
    for size in (7, 256, 1, 7):
        np.testing.assert_allclose(engine.run(batch[:size]), singly[:size], rtol=0, atol=limit)
        np.testing.assert_allclose(raw_scores(engine, batch[:size]), raw_singly[:size], rtol=0, atol=raw_limit)
    engine.close()
    assert 0.3 < np.mean(singly > 0.5) < 0.7


@pytest.mark.parametrize("name", TFLITE)
def test_a_tflite_file_has_one_signature_with_stable_names(name, made):
    interpreter = Interpreter(str(made / FORMATS[name].file_name("cnn")))
    signature = {"inputs": ["image"], "outputs": ["probability", NAME]}
    assert interpreter.get_signature_list() == {"serving_default": signature}
    runner = interpreter.get_signature_runner("serving_default")
    dtype = np.uint8 if name == "tflite-int8" else np.float32
    found = runner(image=np.zeros((1, 28, 28, 1), dtype))
    assert set(found) == {"probability", NAME}
    assert {(answer.shape, answer.dtype) for answer in found.values()} == {((1, 1), np.dtype(dtype))}


@pytest.mark.parametrize("name", ONNX)
def test_an_onnx_file_says_who_made_it_and_what_picture_it_wants(name, made):
    model = onnx.load(made / FORMATS[name].file_name("cnn"))
    onnx.checker.check_model(model, full_check=True)
    assert (model.producer_name, model.producer_version) == ("oddeven", version("oddeven"))
    assert {row.domain: row.version for row in model.opset_import}[""] == 17
    assert model.graph.name == "cnn"
    properties = {row.key: row.value for row in model.metadata_props}
    assert set(properties) == {
        "oddeven", "oddeven.sha256", "Image.BitmapPixelFormat", "Image.ColorSpaceGamma", "Image.NominalPixelRange",
    }  # fmt: skip
    assert (model.model_version, model.doc_string) == (1, "Tells 'even' from 'odd' in an image.")
    assert properties["Image.BitmapPixelFormat"] == "Gray8"
    assert properties["Image.NominalPixelRange"] == "Normalized_0_1"
    (image,), (probability, familiarity) = model.graph.input, model.graph.output
    assert image.type.denotation == "IMAGE"
    denotations = [size.denotation for size in image.type.tensor_type.shape.dim]
    assert denotations == ["DATA_BATCH", "DATA_FEATURE", "DATA_FEATURE", "DATA_CHANNEL"]
    outputs = ((probability, "probability", [1]), (familiarity, NAME, [1]))
    for info, name_, rest in ((image, "image", [28, 28, 1]), *outputs):
        batch, *sizes = info.type.tensor_type.shape.dim
        assert (info.name, [size.dim_value for size in sizes]) == (name_, rest)
        assert batch.dim_param
        assert info.type.tensor_type.elem_type == onnx.TensorProto.FLOAT


def test_int16x8_has_float_ends_16_bit_activations_and_nearly_floats_answers(made, raw):
    interpreter = Interpreter(str(made / "cnn.int16x8.tflite"))
    kinds = {np.dtype(tensor["dtype"]).name for tensor in interpreter.get_tensor_details()}
    assert {"int16", "int8"} <= kinds
    pixels = raw["x_test"][:200, ..., None]
    exact, fine, coarse = (answers(made / f"cnn.{p}.tflite", pixels) for p in ("float32", "int16x8", "int8"))
    # Its weights are int8's, so only the activations' error is gone.
    assert np.abs(fine - exact).mean() < np.abs(coarse - exact).mean()
    np.testing.assert_array_equal(fine > 0.5, exact > 0.5)


def test_float_ends_are_the_only_difference_they_make(convert, raw):
    inside, outside = convert("tflite-int8"), convert("tflite-int8", float_io=True)
    engine = open_engine(outside)
    assert (engine.input.dtype, engine.output.dtype) == ("float32", "float32")
    engine.close()
    pixels = raw["x_test"][:200, ..., None]
    # The same integers inside; the probability comes out in steps of 1/256 either way.
    np.testing.assert_array_equal(answers(inside, pixels), answers(outside, pixels))


def test_no_pair_of_weights_adds_up_to_an_overflow_unless_all_8_bits_are_asked_for(convert):
    """The largest 8-bit activation, 255, times two weights next to each other in a sum must fit into 16 bits."""
    for full_range in (False, True):
        model = onnx.load(convert("onnx-int8", full_range=full_range))
        arrays = [onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer]
        weights = [array.astype(int) for array in arrays if array.dtype == np.int8 and array.ndim > 1]
        # Of the probability's layers, and of familiarity's, one for each of the five places that it looks at.
        shapes = [(32, 1, 3, 3), (32, 32, 3, 3), (800, 256), (256, 14), *[(32, 14)] * 4]
        assert sorted(array.shape for array in weights) == sorted(shapes)
        fits = []
        for array in weights:
            added = array.transpose(2, 3, 1, 0).reshape(-1, 32) if array.ndim == 4 else array
            added = np.concatenate([added, np.zeros((len(added) % 2, added.shape[1]), int)])
            sums = [np.where(kept, added, 0).reshape(len(added) // 2, 2, -1).sum(1) for kept in (added > 0, added < 0)]
            fits.append(255 * np.abs(sums).max() < 2**15)
            assert np.abs(array).max() > 96  # and more than 7 bits are used
        assert fits == [not full_range] * 8
