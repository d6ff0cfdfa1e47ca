"""A Keras file, and the ModelSpec inside it, as a model that ends in one probability."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from oddeven.runtime.engines.metadata import read_spec
from oddeven.runtime.errors import ModelError
from oddeven.runtime.familiarity import NAME
from oddeven.runtime.spec import ModelSpec

HEAD = "oddeven_probability"  # collides with no layer of the file's own
DIFFERENCE = np.array([[-1.0], [1.0]])  # (z0, z1) @ DIFFERENCE = z1 - z0
# What zipfile, zlib and h5py raise for damaged bytes, the last where an entry seems to be packed by an unknown method;
# then what Keras raises besides for a bad config.json.
DAMAGE = (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError)
REFUSAL = (ValueError, TypeError, LookupError, AttributeError, RuntimeError)
SAFE = (
    "only safe models are read: Keras's own layers, no Python code, no custom classes or functions; of others give the "
    "folder that model.export(FOLDER) writes"
)
SAY = "--labels A,B --data FOLDER"


def load_keras_model(path: Path, from_logits: bool = False) -> tuple[Any, ModelSpec]:
    """The Keras model in `path` and its spec.

    Raises:
        ModelError: as `read_keras_model`, or the file carries no spec.
    """
    spec = read_keras_spec(path)
    model = read_keras_model(path, from_logits, spec.input.shape)
    if (spec.familiarity is not None) != (len(model.outputs) == 2):
        promised = "a familiarity" if spec.familiarity else "none"
        raise ModelError(f"{path} has {len(model.outputs)} outputs, and its spec promises {promised}; train it again.")
    return model, spec


def read_keras_model(path: Path, from_logits: bool = False, shape: tuple[int, int, int] | None = None) -> Any:
    """The Keras model in `path`. Only safe files are read: none with code or pickles inside.

    A softmax of two units becomes one sigmoid: softmax(z)[1] = 1 / (1 + exp(z0 - z1)) = sigmoid(z1 - z0). A last
    Dense(2) of weights W and biases b becomes Dense(1) of W[:, 1] - W[:, 0] and b[1] - b[0], which quantizes
    better than a softmax. So the probability is that of column 1, `spec.labels[1]`.

    Args:
        path: a `.keras` or `.h5` file.
        from_logits: the model gives logits, one (of label 1) or two; it gets the sigmoid that it lacks.
        shape: (height, width, channels) that its spec says; None where it has none.

    Returns:
        A functional model, float32 (N, H, W, C) in, float32 (N, 1) out: the probability of label 1, and a second
        output where the file has one called `raw_familiarity`.

    Raises:
        ModelError: the file is missing, damaged, unsafe, is not a two-class image model, or gives something else than
            `from_logits` says.
    """
    import keras
    import tensorflow as tf

    try:
        model = keras.saving.load_model(path, compile=False, safe_mode=True)
    except DAMAGE as error:
        raise ModelError(f"{path} is damaged ({_reason(error)}); make it anew.") from error
    except (*REFUSAL, tf.errors.OpError) as error:
        raise ModelError(f"Keras cannot build {path} ({_reason(error)}); {SAFE}.") from error
    model, familiarity = _functional(model, path)
    check_tensors(model, path, shape)
    model = _to_probability(model, from_logits, path)
    if model.outputs[0].dtype != "float32":
        raise ModelError(f"{path} gives {model.outputs[0].dtype}, expected float32; give its last layer that dtype.")
    return keras.Model(model.inputs[0], [model.outputs[0], *familiarity], name=model.name) if familiarity else model


def read_keras_spec(path: Path) -> ModelSpec:
    """The spec in the `.keras` file `path`, without importing Keras.

    Raises:
        ModelError: there is no such file, or it is damaged, no Keras model or without a spec.
    """
    if not path.is_file():
        raise ModelError(f"There is no file {path}; make one with: oddeven train")
    if path.suffix != ".keras":
        raise ModelError(f"{path} is not a .keras file; make one with: oddeven train")
    try:
        spec = read_spec(path)
        with zipfile.ZipFile(path) as archive:
            entries = archive.namelist()
    except (*DAMAGE, *REFUSAL) as error:
        size = f"{path.stat().st_size:,} bytes"
        raise ModelError(f"{path} is empty, cut short or damaged ({size}: {_reason(error)}); make it anew.") from error
    if "config.json" not in entries:
        raise ModelError(f"{path} is a ZIP archive but not a Keras model: it has no config.json.")
    if spec is None:
        raise ModelError(f"{path} carries no ModelSpec; train it with oddeven train, or add {SAY}.")
    return spec


def _reason(error: Exception) -> str:
    """The first sentence of the innermost message, on one line; Keras wraps messages in whole configurations."""
    inner = " ".join(str(error).rsplit("Exception encountered: ", 1)[-1].split())
    return (inner.split(". ")[0].rstrip(".") or type(error).__name__)[:160]


def _functional(model: Any, path: Path) -> tuple[Any, list[Any]]:
    """`model` as a functional one with one input and one output, whatever it was built from, and its familiarity."""
    import keras

    inputs, outputs = getattr(model, "inputs", None), getattr(model, "outputs", None)
    if not isinstance(model, keras.Model) or not inputs or not outputs:
        raise ModelError(f"{path} holds a {type(model).__name__} without an input of its own; give it a keras.Input.")
    output_names = keras.Model(inputs, outputs).output_names
    familiarity = []
    if len(outputs) == 2 and NAME in output_names:
        familiarity = [outputs[output_names.index(NAME)]]
        outputs = [outputs[1 - output_names.index(NAME)]]
        output_names.remove(NAME)
    for kind, names in (("inputs", [tensor.name for tensor in inputs]), ("outputs", output_names)):
        if len(names) != 1:
            raise ModelError(f"{path} has {len(names)} {kind} ({', '.join(names)}); expected one.")
    if any(weight.dtype == "int8" for weight in model.weights):
        raise ModelError(f"{path} has been quantized by Keras already; expected float weights, export quantizes them.")
    return keras.Model(inputs[0], outputs[0], name=model.name), familiarity


def check_tensors(model: Any, path: Path, expected_shape: tuple[int, int, int] | None = None) -> None:
    """Refuse a model that does not take float32 images of one size, any number at a time, or computes in less.

    Raises:
        ModelError: it does not; or the size is not `expected_shape`, (height, width, channels).
    """
    (batch, *shape), dtype = model.input_shape, model.inputs[0].dtype
    if expected_shape:
        expected = f"expected images of shape {expected_shape} as its spec says"
    else:
        expected = "expected images of one size: height, width, and 1 or 3 channels"
    if len(shape) == 1:
        raise ModelError(f"{path} takes flat rows of {shape[0]} numbers, {expected}; begin it with a Flatten layer.")
    one_size = len(shape) == 3 and None not in shape and shape[2] in {1, 3}
    if tuple(shape) != expected_shape if expected_shape else not one_size:
        raise ModelError(f"{path} takes images of shape {tuple(shape)}, {expected}; give it another keras.Input.")
    if batch is not None or dtype != "float32":
        came = f"{dtype}, {batch or 'any number'} at a time"
        raise ModelError(f"{path} takes images as {came}; expected float32, any number at a time.")
    if halves := [weight for weight in model.weights if weight.dtype in {"float16", "bfloat16"}]:
        came = f"{halves[0].dtype} (first {halves[0].path})"
        raise ModelError(f"{path} has weights of {came}; expected float32, save it with that dtype.")


def _to_probability(model: Any, from_logits: bool, path: Path) -> Any:
    """`model` as one whose output is (None, 1), the probability of label 1. See `read_keras_model`."""
    import keras

    shape, activation = tuple(model.output_shape[1:]), _activation(model)
    if from_logits and activation != "linear":
        raise ModelError(f"{path} ends in {activation}, so it does not give logits; leave out --from-logits.")
    if activation == "linear" and shape in {(1,), (2,)} and not from_logits:
        raise ModelError(f"{path} ends in linear, so it gives no probability; add a sigmoid or pass --from-logits.")
    match shape, activation:
        case (1,), "sigmoid":
            return model
        case (1,), "linear":
            probability = keras.layers.Activation("sigmoid", name=HEAD, dtype="float32")(model.outputs[0])
            return keras.Model(model.inputs[0], probability, name=model.name)
        case (2,), "softmax" | "linear":
            return _one_sigmoid(model, path)
    expected = "expected shape (1,) with sigmoid, or (2,) with softmax"
    raise ModelError(f"{path} gives shape {shape} with {activation}; {expected}.")


def _made_by(tensor: Any) -> tuple[Any, Any]:
    """The layer or operation that gives `tensor`, and the tensor that it takes at that place in the model."""
    operation, node, _ = tensor._keras_history
    return operation, operation._inbound_nodes[node].input_tensors[0]


def _activation(model: Any) -> str:
    """The name of the function that `model` ends in, as Keras spells it; of other last layers, their class."""
    import keras

    last, _ = _made_by(model.outputs[0])
    if isinstance(last, keras.Model):
        return _activation(last)
    function, kind = getattr(last, "activation", None), type(last).__name__
    if function is not None:
        return str(getattr(function, "__name__", type(function).__name__))
    if kind == "Softmax" and last.axis not in {-1, 1}:
        return f"softmax over axis {last.axis}"
    return {"Softmax": "softmax", "Sigmoid": "sigmoid"}.get(kind, kind)


def _one_sigmoid(model: Any, path: Path) -> Any:
    """`model`, two logits or a softmax of them, as sigmoid(z1 - z0), inside its last Dense where there is one."""
    import keras

    def real(variable: Any) -> npt.NDArray[np.float64]:  # so that a difference of weights is rounded once
        return np.asarray(keras.ops.convert_to_tensor(variable), np.float64)

    last, source = _made_by(model.outputs[0])
    weighted = bool(getattr(last, "weights", []))
    if isinstance(last, keras.Model) or (weighted and not isinstance(last, keras.layers.Dense)):
        raise ModelError(f"{path} ends in a {type(last).__name__} of two units; expected a Dense or Softmax layer.")
    kernel, bias = DIFFERENCE, np.zeros(1)
    dense, features = (last, source) if weighted else _made_by(source)
    if isinstance(dense, keras.layers.Dense) and (weighted or dense.activation is keras.activations.linear):
        source, kernel = features, real(dense.kernel) @ DIFFERENCE
        bias = real(dense.bias) @ DIFFERENCE if dense.use_bias else bias
    head = keras.layers.Dense(1, activation="sigmoid", name=HEAD, dtype="float32")
    probability = head(source)
    head.set_weights([kernel, bias])
    return keras.Model(model.inputs[0], probability, name=model.name)
