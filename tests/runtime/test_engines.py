"""One contract for all engines that are installed here, on the shipped models' real files."""

from __future__ import annotations

import dataclasses
import zipfile

import numpy as np
import pytest

from oddeven.runtime.artifacts.resolve import bundled
from oddeven.runtime.classifier import Classifier
from oddeven.runtime.engines import registry
from oddeven.runtime.engines.metadata import attach_to_tflite, read_spec
from oddeven.runtime.engines.registry import ENGINES, installed, open_engine, select
from oddeven.runtime.errors import MissingPackageError, ModelError, UsageError

HERE = [name for name in ENGINES if installed(name)]
UNASKED = [name for name in HERE if not ENGINES[name].by_name]


@pytest.fixture(scope="module")
def files(exported, tmp_path_factory):
    """The exported cnn, int8, by suffix; as C it is made of the `.tflite` file."""
    found = {suffix: exported / f"cnn.int8{suffix}" for suffix in (".tflite", ".onnx")}
    if "c" in HERE:
        from oddeven.export.c.library import c_library

        found[".zip"] = tmp_path_factory.mktemp("c") / "cnn.int8.zip"
        found[".zip"].write_bytes(c_library(found[".tflite"].read_bytes(), read_spec(found[".tflite"])))
    return found


@pytest.fixture(params=HERE)
def opened(request, files):
    """The exported cnn, int8, opened with each installed engine."""
    engine = open_engine(files[ENGINES[request.param].suffix], request.param)
    yield engine
    engine.close()


def batch(engine, raw, count):
    pixels = raw["x_test"][:count, ..., None]
    return pixels if engine.input.dtype == "uint8" else pixels / np.float32(255)


def test_it_describes_itself(opened):
    assert opened.name in HERE
    assert opened.version
    assert (opened.input.name, opened.output.name) == ("image", "probability")
    assert opened.input.shape == (-1, 28, 28, 1)
    assert opened.output.shape[1:] == (1,)
    assert opened.spec.labels == ("even", "odd")


@pytest.mark.parametrize("count", [1, 7, 256])
def test_any_batch_size_gives_one_probability_a_picture(opened, raw, count):
    p = opened.run(batch(opened, raw, count))
    assert (p.shape, p.dtype) == ((count,), np.float32)
    assert ((p >= 0) & (p <= 1)).all()
    assert np.mean((p > 0.5) == raw["y_test"][:count] % 2) > 0.97


def test_a_batch_answers_as_its_pictures_one_by_one(opened, raw):
    together = opened.run(batch(opened, raw, 5))
    apart = np.concatenate([opened.run(picture[None]) for picture in batch(opened, raw, 5)])
    # Integer arithmetic inside, so at most the float ends of an ONNX file differ, by rounding.
    np.testing.assert_allclose(together, apart, atol=1e-6)


def test_the_output_tensor_is_what_the_probability_is_decoded_from(opened, raw):
    pictures = batch(opened, raw, 3)
    q_answers = opened.invoke(pictures)[0]
    assert (q_answers.shape, q_answers.dtype.name) == ((3, 1), opened.output.dtype)
    real = q_answers[:, 0].astype(np.float64)
    if opened.output.scale:
        real = (real - opened.output.zero_point) * opened.output.scale
    np.testing.assert_allclose(opened.run(pictures), real, rtol=1e-6)  # float32 against float64


def test_a_closed_one_says_so(files):
    for name in HERE:
        engine = open_engine(files[ENGINES[name].suffix], name)
        engine.close()
        with pytest.raises(UsageError, match="is closed"):
            engine.run(np.zeros((1, 28, 28, 1), engine.input.dtype))


@pytest.mark.parametrize("name", UNASKED)
def test_every_exported_file_opens_or_says_which_one_does(name, exported, raw):
    """TensorFlow's dynamic-range files are too new for tflite-runtime 2.14."""
    for path in sorted(exported.glob(f"*{ENGINES[name].suffix}")):
        if name == "tflite-runtime" and ".dynamic." in path.name:
            with pytest.raises(ModelError, match="Take the int8 or float32 file"):
                open_engine(path, name)
            continue
        engine = open_engine(path, name)
        # Quantization moves an answer by hundredths at most, where the picture is not ambiguous.
        assert np.mean((engine.run(batch(engine, raw, 200)) > 0.5) == raw["y_test"][:200] % 2) >= 0.99
        engine.close()


@pytest.mark.parametrize("suffix", sorted({ENGINES[name].suffix for name in UNASKED}))
def test_one_flipped_bit_anywhere_is_found(exported, tmp_path, suffix):
    content = (exported / f"cnn.int8{suffix}").read_bytes()
    path = tmp_path / f"flipped{suffix}"
    for position in np.random.default_rng(0).integers(0, len(content) - 3000, 40):  # weights; the spec is at the end
        flipped = bytearray(content)
        flipped[position] ^= 1 << int(position) % 8
        path.write_bytes(flipped)
        with pytest.raises(ModelError, match="is damaged"):
            open_engine(path)


def test_auto_takes_the_first_installed_one_of_the_suffix(exported, monkeypatch):
    monkeypatch.setattr(registry, "installed", lambda name: name != "litert")
    assert select(exported / "cnn.int8.tflite") == "tflite-runtime"
    assert select(exported / "cnn.int8.onnx") == "onnxruntime"


def test_code_runs_only_where_its_engine_is_named(files, tmp_path):
    with pytest.raises(UsageError, match="holds code; if you trust it, compile and run it with --engine c"):
        select(tmp_path / "cnn.int8.zip")
    assert select(files[".tflite"]) == "litert"  # tflite-micro is a hundred times slower


def test_a_missing_engine_names_its_pip_line(exported, monkeypatch):
    monkeypatch.setattr(registry, "installed", lambda name: False)
    for suffix, line in ((".tflite", "pip install ai-edge-litert"), (".onnx", r"pip install 'oddeven\[onnx\]'")):
        with pytest.raises(MissingPackageError, match=line):
            open_engine(exported / f"cnn.int8{suffix}")


def test_wrong_engines_and_files_are_named(exported, tmp_path):
    with pytest.raises(UsageError, match="known are litert, tflite-runtime, onnxruntime"):
        open_engine(exported / "cnn.int8.tflite", "tensorrt")
    with pytest.raises(UsageError, match=r"onnxruntime does not read cnn\.int8\.tflite; use litert or tflite-runtime"):
        open_engine(exported / "cnn.int8.tflite", "onnxruntime")
    with pytest.raises(ModelError, match="There is no model file"):
        open_engine(tmp_path / "absent.tflite")
    (tmp_path / "model.bin").write_bytes(b"x")
    with pytest.raises(ModelError, match=r"no engine reads \.bin"):
        open_engine(tmp_path / "model.bin")


@pytest.mark.parametrize("suffix", sorted({ENGINES[name].suffix for name in UNASKED}))
def test_a_truncated_file_is_one_sentence(exported, tmp_path, suffix):
    content = (exported / f"cnn.int8{suffix}").read_bytes()
    path = tmp_path / f"cut{suffix}"
    for size in [0, 7, 100, *range(1000, len(content), 20_011), len(content) - 1]:
        path.write_bytes(content[:size])
        try:
            engine = open_engine(path)
        except ModelError:
            continue
        assert engine.spec is None, size  # all of the model is there, but not what lies behind it


def test_a_spec_of_other_pictures_is_refused(tmp_path):
    path = bundled()["mlp"]
    spec = read_spec(path)
    with zipfile.ZipFile(path) as archive:
        flatbuffer = path.read_bytes()[: min(entry.header_offset for entry in archive.infolist())]
    other = dataclasses.replace(spec, input=dataclasses.replace(spec.input, height=32))
    (tmp_path / "mlp.tflite").write_bytes(attach_to_tflite(flatbuffer, other))
    with pytest.raises(ModelError, match=r"its spec says \(32, 28, 1\) images, its tensors \(28, 28, 1\)"):
        open_engine(tmp_path / "mlp.tflite")


@pytest.mark.skipif("litert" not in HERE, reason="needs LiteRT")
def test_a_scale_that_a_converter_left_at_real_values_is_ignored(exported, tmp_path, raw):
    from ai_edge_litert.schema_py_generated import ModelT, QuantizationParametersT

    from oddeven.export.flatbuffer import pack

    original, path = exported / "cnn.float32.tflite", tmp_path / "cnn.float32.tflite"
    parsed = ModelT.InitFromPackedBuf(original.read_bytes(), 0)
    (graph,) = parsed.subgraphs
    for tensor in (*graph.inputs, graph.outputs[0]):
        graph.tensors[tensor].quantization = QuantizationParametersT(scale=[0.5], zeroPoint=[3])
    path.write_bytes(attach_to_tflite(pack(parsed), read_spec(original)))
    images = raw["x_test"][:100, ..., None]
    with Classifier.load(original, "litert") as expected, Classifier.load(path, "litert") as found:
        np.testing.assert_array_equal(found.probabilities(images), expected.probabilities(images))
