"""What may be exported and what may not: each kind of Keras file, and the sentence for those refused."""

from __future__ import annotations

import json
import re
import warnings
import zipfile

import keras
import numpy as np
import pytest
from conftest import SHIPPED
from keras import layers, ops

from oddeven.export.keras_model import load_keras_model
from oddeven.runtime.engines.metadata import attach_to_keras
from oddeven.runtime.errors import ModelError
from oddeven.runtime.spec import InputSpec, ModelSpec, Provenance

# Keras's own, whenever it reads a variable under NumPy 2, to save it for one.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

GREY = (28, 28, 1)
ROUNDING = 2.0**-24  # float32, one operation, relative


@pytest.fixture
def save(tmp_path):
    """Save a Keras model as Keras does and attach a spec; the file's path."""

    def save_model(model, shape=GREY):
        path = tmp_path / "tiny.keras"
        model.save(path)
        attach_to_keras(path, spec_of(shape))
        return path

    return save_model


def spec_of(shape=GREY):
    provenance = Provenance("mnist", "0" * 64, "classic", 1, 0, {})
    return ModelSpec("tiny", ("even", "odd"), InputSpec(*shape), provenance)


def dense(units, activation=None, **options):
    """A last layer whose random weights spread the answers over all of 0 to 1."""
    keras.utils.set_random_seed(4)
    spread = keras.initializers.RandomNormal(stddev=0.3)
    return layers.Dense(units, activation=activation, kernel_initializer=spread, bias_initializer=spread, **options)


def sequence(*tail, shape=GREY):
    return keras.Sequential([keras.Input(shape), layers.Flatten(), *tail])


def functional(tail, shape=GREY):
    image = keras.Input(shape, name="image")
    return keras.Model(image, tail(layers.Flatten()(image)))


@pytest.fixture
def pictures(raw):
    return raw["x_test"][:500, ..., None] / np.float32(255)


def logit_error(pictures, kernel):
    """The most that two float32 evaluations of z1 - z0 can differ by, each summing products and a bias in any order.

    That is a rounding for each term of each sum, relative to the sum of magnitudes.
    """
    magnitude = (np.abs(pictures.reshape(len(pictures), -1)) @ np.abs(kernel)).sum(axis=1).max() + 2
    return 2 * (len(kernel) + 2) * ROUNDING * magnitude


def lite(content, pictures):
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=content, num_threads=1)
    interpreter.allocate_tensors()
    (source,), (sink,) = interpreter.get_input_details(), interpreter.get_output_details()
    answers = []
    for picture in pictures:
        interpreter.set_tensor(source["index"], picture[None])
        interpreter.invoke()
        answers.append(interpreter.get_tensor(sink["index"])[0, 0])
    return np.array(answers), source, sink


SOFTMAXES = {
    "in Dense": lambda: sequence(dense(2, "softmax")),
    "in Dense without bias": lambda: sequence(dense(2, "softmax", use_bias=False)),
    "in Dense of that name": lambda: sequence(dense(2, "softmax", name="probability")),
    "as a layer": lambda: sequence(dense(2), layers.Softmax()),
    "as an activation layer": lambda: sequence(dense(2), layers.Activation("softmax")),
    "as an operation": lambda: functional(lambda x: ops.softmax(dense(2)(x))),
}


@pytest.mark.parametrize("kind", SOFTMAXES)
def test_a_softmax_of_two_becomes_the_probability_of_label_1(kind, save, pictures):
    original = SOFTMAXES[kind]()
    model, spec = load_keras_model(save(original))
    truth = original.predict(pictures, verbose=0)[:, 1]
    answers = model.predict(pictures, verbose=0)
    assert (model.input_shape, answers.shape, spec.labels[1]) == ((None, *GREY), (500, 1), "odd")
    assert truth.min() < 0.1
    assert truth.max() > 0.9
    # A sigmoid is nowhere steeper than 1/4; softmax and sigmoid themselves round a few times.
    kernel = next(weight for weight in original.get_weights() if weight.ndim == 2)
    np.testing.assert_allclose(answers[:, 0], truth, rtol=0, atol=logit_error(pictures, kernel) / 4 + 8 * ROUNDING)
    # Folded into one row of weights and a bias; nothing else is left to quantize.
    assert model.count_params() == 785
    np.testing.assert_allclose(model.get_weights()[0][:, 0], kernel[:, 1] - kernel[:, 0], rtol=2 * ROUNDING)


def test_a_softmax_of_something_else_than_a_dense_layer_is_a_sigmoid_of_the_difference(save, pictures):
    keras.utils.set_random_seed(4)
    original = keras.Sequential(
        [keras.Input(GREY), layers.Conv2D(2, 3, strides=2), layers.GlobalMaxPooling2D(), layers.Softmax()]
    )
    model, _ = load_keras_model(save(original))
    # One logit is a sum of 9 products of numbers below 2, so rounding is far below this.
    np.testing.assert_allclose(
        model.predict(pictures, verbose=0)[:, 0], original.predict(pictures, verbose=0)[:, 1], atol=100 * ROUNDING
    )
    np.testing.assert_array_equal(model.layers[-1].get_weights()[0], [[-1], [1]])


def test_a_relu_between_dense_and_softmax_is_not_lost(save, pictures):
    original = sequence(dense(2, "relu"), layers.Softmax())
    model, _ = load_keras_model(save(original))
    truth = original.predict(pictures, verbose=0)[:, 1]
    assert np.sum(np.abs(truth - 0.5) < ROUNDING) > 10  # both logits below zero, as only relu makes them
    tolerance = logit_error(pictures, original.get_weights()[0]) / 4 + 8 * ROUNDING
    np.testing.assert_allclose(model.predict(pictures, verbose=0)[:, 0], truth, rtol=0, atol=tolerance)


def test_a_last_layer_that_is_used_twice_is_taken_at_its_last_place(save, pictures):
    image = keras.Input((4, 4, 1))
    last, flat = dense(2, "softmax"), layers.Flatten()(image)
    again = layers.Concatenate()([last(flat), flat[:, :14]])
    original = keras.Model(image, last(again))
    few = pictures[:, 12:16, 12:16]
    model, _ = load_keras_model(save(original, (4, 4, 1)))
    # The layer twice, pixels and answers within 0 to 1; the first's error comes through weights below 1.
    tolerance = 2 * logit_error(np.ones((1, 16)), original.get_weights()[0])
    truth = original.predict(few, verbose=0)[:, 1]
    assert truth.std() > 100 * tolerance
    np.testing.assert_allclose(model.predict(few, verbose=0)[:, 0], truth, rtol=0, atol=tolerance)


@pytest.mark.parametrize("kind", ["in Dense", "as an operation"])
def test_a_mapped_softmax_converts_to_float_tflite_and_onnx(kind, save, pictures, tmp_path):
    import onnxruntime
    import tensorflow as tf

    original = SOFTMAXES[kind]()
    model, _ = load_keras_model(save(original))
    truth = original.predict(pictures, verbose=0)[:, 1]
    tolerance = logit_error(pictures, original.get_weights()[0]) / 4 + 8 * ROUNDING
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import tf2onnx

        flatbuffer = tf.lite.TFLiteConverter.from_keras_model(model).convert()
        signature = [tf.TensorSpec((None, *GREY), tf.float32, name="image")]
        traced = tf.function(lambda image: model(image, training=False), input_signature=signature)
        proto, _ = tf2onnx.convert.from_function(traced, input_signature=signature, opset=17)
    answers, _, _ = lite(flatbuffer, pictures)
    np.testing.assert_allclose(answers, truth, rtol=0, atol=tolerance)
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    (answers,) = session.run(None, {"image": pictures})
    np.testing.assert_allclose(answers[:, 0], truth, rtol=0, atol=tolerance)
    assert "Softmax" not in {node.op_type for node in proto.graph.node}


def test_a_mapped_softmax_quantizes_to_int8_within_the_steps_of_its_tensors(save, pictures):
    import tensorflow as tf

    original = SOFTMAXES["in Dense"]()
    model, _ = load_keras_model(save(original))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        converter = tf.lite.TFLiteConverter.from_keras_model(model)
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = lambda: ([picture[None]] for picture in pictures)
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = converter.inference_output_type = tf.uint8
        flatbuffer = converter.convert()
    q_answers, source, sink = lite(flatbuffer, np.round(pictures * 255).astype(np.uint8))
    assert source["quantization"] == (pytest.approx(1 / 255), 0)
    scale, zero_point = sink["quantization"]
    answers = (q_answers.astype(float) - zero_point) * scale
    truth = original.predict(pictures, verbose=0)[:, 1]
    kernel, bias = original.get_weights()
    w = kernel[:, 1] - kernel[:, 0]
    z = pictures.reshape(500, -1) @ w + bias[1] - bias[0]
    # Half a step of each weight on every pixel, one step of the logit (half for rounding, half for its zero
    # point), through a slope of at most 1/4; then half a step of the probability.
    half_weight_steps = 0.5 * np.abs(w).max() / 127 * pictures.sum(axis=(1, 2, 3))
    logit_step = (max(z.max(), 0) - min(z.min(), 0)) / 255
    assert np.all(np.abs(answers - truth) <= (half_weight_steps + logit_step) / 4 + 0.5 / 256 + 1e-6)


def test_logits_get_their_sigmoid_on_request_only(save, pictures):
    original = sequence(dense(1))
    path = save(original)
    with pytest.raises(ModelError, match="ends in linear, so it gives no probability; add a sigmoid or pass --from-"):
        load_keras_model(path)
    model, _ = load_keras_model(path, from_logits=True)
    assert model.output_shape == (None, 1)
    z = original.predict(pictures, verbose=0).astype(np.float64)
    # The sigmoid's own roundings, as the logit is the same.
    np.testing.assert_allclose(model.predict(pictures, verbose=0), 1 / (1 + np.exp(-z)), rtol=0, atol=8 * ROUNDING)


def test_two_logits_are_taken_as_those_of_a_softmax_on_request_only(save, pictures):
    original = sequence(dense(2))
    path = save(original)
    with pytest.raises(ModelError, match="pass --from-logits"):
        load_keras_model(path)
    model, _ = load_keras_model(path, from_logits=True)
    z = original.predict(pictures, verbose=0).astype(np.float64)
    truth = np.exp(z[:, 1]) / np.exp(z).sum(axis=1)
    tolerance = logit_error(pictures, original.get_weights()[0]) / 4 + 8 * ROUNDING
    np.testing.assert_allclose(model.predict(pictures, verbose=0)[:, 0], truth, rtol=0, atol=tolerance)


@pytest.mark.parametrize("tail", [dense(1, "sigmoid"), dense(2, "softmax"), dense(1, "relu")])
def test_a_model_that_does_not_end_in_logits_refuses_the_flag(tail, save):
    with pytest.raises(ModelError, match=rf"tiny.keras ends in {tail.activation.__name__}, .*leave out --from-logits"):
        load_keras_model(save(sequence(tail)), from_logits=True)


@pytest.mark.parametrize(
    ("tail", "came"),
    [
        ([dense(1, "relu")], "(1,) with relu"),
        ([dense(1, "tanh")], "(1,) with tanh"),
        ([dense(1, "hard_sigmoid")], "(1,) with hard_sigmoid"),
        ([dense(1), layers.LeakyReLU()], "(1,) with LeakyReLU"),
        ([dense(3, "softmax")], "(3,) with softmax"),
        ([dense(10)], "(10,) with linear"),
        ([dense(1, "softmax")], "(1,) with softmax"),
        ([dense(2, "sigmoid")], "(2,) with sigmoid"),
        ([dense(2), layers.Softmax(axis=0)], "(2,) with softmax over axis 0"),
        ([dense(1, "sigmoid"), layers.Reshape((1, 1))], "(1, 1) with Reshape"),
    ],
)
def test_any_other_answer_is_refused_with_what_came(tail, came, save):
    sentence = f"tiny.keras gives shape {came}; expected shape (1,) with sigmoid, or (2,) with softmax."
    with pytest.raises(ModelError, match=re.escape(sentence)):
        load_keras_model(save(sequence(*tail)))


@pytest.mark.parametrize("tail", [[dense(2, "softmax")], [layers.Reshape((784,)), layers.Softmax()]])
def test_a_softmax_inside_a_nested_model_is_refused(tail, save):
    inner = keras.Sequential([keras.Input((784,)), *([] if len(tail) == 1 else [dense(2)]), *tail[-1:]])
    with pytest.raises(ModelError, match="ends in a Sequential of two units; expected a Dense or Softmax layer"):
        load_keras_model(save(sequence(inner)))


def test_a_sigmoid_inside_a_nested_model_or_a_dictionary_is_taken_as_it_is(save, pictures):
    inner = keras.Sequential([keras.Input((784,)), dense(1, "sigmoid")])
    image = keras.Input(GREY, name="image")
    original = keras.Model({"image": image}, {"answer": inner(layers.Flatten()(image))})
    model, _ = load_keras_model(save(original))
    truth = original.predict({"image": pictures}, verbose=0)["answer"]
    np.testing.assert_allclose(model.predict(pictures, verbose=0), truth, rtol=0, atol=8 * ROUNDING)


@pytest.mark.parametrize("name", ["mlp", "cnn", "deep_cnn"])
def test_a_model_that_needs_no_mapping_answers_as_before(name, pictures):
    original = keras.saving.load_model(SHIPPED / f"{name}.keras")
    model, spec = load_keras_model(SHIPPED / f"{name}.keras")
    assert spec.name == model.name == name
    truth = original.predict(pictures, verbose=0)
    np.testing.assert_allclose(model.predict(pictures, verbose=0), truth, rtol=0, atol=8 * ROUNDING)


def test_two_outputs_and_two_inputs_are_named(save):
    image, side = keras.Input(GREY, name="image"), keras.Input((3,), name="side")
    flat = layers.Flatten()(image)
    odd, big = layers.Dense(1, "sigmoid", name="odd")(flat), layers.Dense(1, "sigmoid", name="big")(flat)
    both = layers.Dense(1, "sigmoid")(layers.Concatenate()([flat, side]))
    for outputs in ([odd, big], {"a": odd, "b": big}):
        with pytest.raises(ModelError, match=r"tiny.keras has 2 outputs \(odd, big\); expected one"):
            load_keras_model(save(keras.Model(image, outputs)))
    with pytest.raises(ModelError, match=r"tiny.keras has 2 inputs \(image, side\); expected one"):
        load_keras_model(save(keras.Model([image, side], both)))


@pytest.mark.parametrize("shape", [(28, 28, 3), (32, 20, 1), (1, 1, 3)])
def test_any_picture_is_taken_that_spec_and_model_agree_on(shape, save):
    model, spec = load_keras_model(save(sequence(dense(1, "sigmoid"), shape=shape), shape))
    assert (model.input_shape, spec.input.shape) == ((None, *shape), shape)


@pytest.mark.parametrize("shape", [(28, 28, 3), (20, 28, 1), (28, 28), (1, 28, 28), (None, None, 1)])
def test_another_picture_than_the_specs_is_refused_with_both_shapes(shape, save):
    tail = dense(1, "sigmoid")
    model = (
        keras.Sequential([keras.Input(shape), layers.GlobalAveragePooling2D(), tail])
        if None in shape
        else sequence(tail, shape=shape)
    )
    sentence = f"takes images of shape {shape}, expected images of shape (28, 28, 1) as its spec says"
    with pytest.raises(ModelError, match=re.escape(sentence)):
        load_keras_model(save(model))


def test_flat_rows_are_refused(save):
    model = keras.Sequential([keras.Input((784,)), dense(1, "sigmoid")])
    sentence = "takes flat rows of 784 numbers, expected images of shape (28, 28, 1) as its spec says"
    with pytest.raises(ModelError, match=re.escape(sentence)):
        load_keras_model(save(model))


@pytest.mark.parametrize(
    ("options", "came"), [({"dtype": "uint8"}, "uint8, any number"), ({"batch_size": 1}, "float32, 1")]
)
def test_pixels_of_another_dtype_and_a_fixed_batch_are_refused(options, came, save):
    model = keras.Sequential([keras.Input(GREY, **options), layers.Flatten(), dense(1, "sigmoid")])
    with pytest.raises(ModelError, match=f"takes images as {came} at a time; expected float32, any number"):
        load_keras_model(save(model))


def test_float16_answers_and_weights_quantized_by_keras_are_refused(save):
    with pytest.raises(ModelError, match="gives float16, expected float32; give its last layer that dtype"):
        load_keras_model(save(sequence(dense(1, "sigmoid", dtype="mixed_float16"))))
    quantized = sequence(dense(2, "softmax"))
    quantized.layers[-1].quantize("int8")
    with pytest.raises(ModelError, match="has been quantized by Keras already; expected float weights"):
        load_keras_model(save(quantized))


class Custom(layers.Layer):
    def call(self, x):
        return x


def custom(x):
    return x


@pytest.mark.parametrize(
    ("tail", "came"),
    [
        ([layers.Lambda(lambda x: x), dense(1, "sigmoid")], "Requested the deserialization of a `Lambda` layer"),
        ([layers.Lambda(custom), dense(1, "sigmoid")], "Could not locate function 'custom'"),
        ([Custom(), dense(1, "sigmoid")], "Could not locate class 'Custom'"),
        ([dense(1, custom)], "Could not locate function 'custom'"),
    ],
)
def test_code_of_ones_own_is_refused_in_one_sentence(tail, came, save):
    with pytest.raises(ModelError) as refusal:
        load_keras_model(save(sequence(*tail)))
    text = str(refusal.value)
    assert came in text
    assert text.endswith(
        "; only safe models are read: Keras's own layers, no Python code, no custom classes or functions; of others "
        "give the folder that model.export(FOLDER) writes."
    )
    assert "\n" not in text
    assert "safe_mode" not in text


def test_a_model_without_an_input_is_refused(save):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        path = save(keras.Sequential([layers.Flatten(), layers.Dense(1, "sigmoid")]))
    with pytest.raises(ModelError, match=r"holds a Sequential without an input of its own; give it a keras\.Input"):
        load_keras_model(path)


def test_files_of_other_kinds_are_refused(tmp_path):
    with pytest.raises(ModelError, match=r"There is no file .*absent\.keras"):
        load_keras_model(tmp_path / "absent.keras")
    (tmp_path / "folder.keras").mkdir()
    with pytest.raises(ModelError, match=r"There is no file .*folder\.keras"):
        load_keras_model(tmp_path / "folder.keras")
    (tmp_path / "model.h5").write_bytes(b"\x89HDF\r\n\x1a\n")
    with pytest.raises(ModelError, match=r"model\.h5 is not a \.keras file; make one with: oddeven train"):
        load_keras_model(tmp_path / "model.h5")
    with zipfile.ZipFile(tmp_path / "other.keras", "w") as archive:
        archive.writestr("word/document.xml", "<xml/>")
    with pytest.raises(
        ModelError, match=r"other\.keras is a ZIP archive but not a Keras model: it has no config\.json"
    ):
        load_keras_model(tmp_path / "other.keras")
    sequence(dense(1, "sigmoid")).save(tmp_path / "bare.keras")
    with pytest.raises(ModelError, match=r"bare\.keras carries no ModelSpec; train it with oddeven train"):
        load_keras_model(tmp_path / "bare.keras")


@pytest.mark.parametrize("kind", ["empty", "truncated", "random"])
def test_what_is_no_archive_is_refused_with_its_size(kind, save):
    path = save(sequence(dense(1, "sigmoid")))
    whole = path.read_bytes()
    content = {"empty": b"", "truncated": whole[:5000], "random": np.random.default_rng(0).bytes(5000)}[kind]
    path.write_bytes(content)
    size = f"{len(content):,} bytes"
    with pytest.raises(ModelError, match=rf"is empty, cut short or damaged \({size}: File is not a zip file\)"):
        load_keras_model(path)


@pytest.mark.parametrize(
    ("entry", "change", "sentence"),
    [
        ("model.weights.h5", lambda data: data[: len(data) // 2], r"is damaged \(Unable to .* \(truncated file"),
        ("model.weights.h5", lambda data: b"", r"is damaged \(Unable to .*signature not found"),
        ("model.weights.h5", None, r"Keras cannot build .*Expected a model.weights.h5"),
        ("config.json", lambda data: data[:50], r"Keras cannot build .*Unterminated string"),
        ("config.json", lambda data: b"null", r"Keras cannot build .*NoneType"),
        ("config.json", lambda data: data.replace(b'"module": "keras"', b'"module": 3'), "Keras cannot build .*int"),
        ("config.json", lambda data: data.replace(b'"module": "keras"', b'"module": "os"'), "Could not locate class"),
        ("config.json", lambda data: data.replace(b'"units": 1', b'"units": %d' % 10**17), "would have more than 2"),
        ("oddeven.json", lambda data: json.dumps({"schema_version": 1}).encode(), "oddeven.json: the field"),
    ],
)
def test_a_damaged_entry_is_one_sentence(entry, change, sentence, save):
    path = save(sequence(dense(1, "sigmoid")))
    with zipfile.ZipFile(path) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    data = entries.pop(entry)
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in {**entries, **({entry: change(data)} if change else {})}.items():
            archive.writestr(name, content)
    with pytest.raises(ModelError, match=sentence) as refusal:
        load_keras_model(path)
    assert "\n" not in str(refusal.value)
    assert "tiny.keras" in str(refusal.value)


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_wrong_bytes_anywhere_end_in_an_answer_or_in_one_of_our_errors(compression, save, tmp_path):
    path = save(sequence(dense(1, "sigmoid")))
    with zipfile.ZipFile(path) as archive, zipfile.ZipFile(tmp_path / "all.zip", "w", compression) as copy:
        for name in archive.namelist():
            copy.writestr(name, archive.read(name))
    whole, random, refused = (tmp_path / "all.zip").read_bytes(), np.random.default_rng(1), 0
    for trial in range(150):
        damaged = bytearray(whole)
        # Every other trial hits the archive's directory, where zipfile has the most ways to fail.
        low = len(whole) - 400 if trial % 2 else 0
        damaged[random.integers(low, len(whole))] ^= int(random.integers(1, 256))
        path.write_bytes(damaged)
        try:
            load_keras_model(path)
        except ModelError:
            refused += 1
    assert refused > 75
