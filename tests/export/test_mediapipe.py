"""The file for phones: what it computes, what it says of itself, and MediaPipe Tasks itself on the whole test set."""

from __future__ import annotations

import importlib
import json
import re
import subprocess
import zipfile
from dataclasses import replace

import keras
import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter
from conftest import ROOT, SHIPPED, oddeven_here
from export.own_models import keras_model, write_images
from runtime.test_wheel import environment
from serve.conftest import chromium  # noqa: F401
from test_readme import checked

from oddeven.export.conversion import Conversion
from oddeven.export.formats import FORMATS
from oddeven.runtime.classifier import Classifier
from oddeven.runtime.engines.metadata import read_spec
from oddeven.runtime.engines.tflite_metadata import read_metadata
from oddeven.runtime.errors import MissingPackageError, ModelError
from oddeven.runtime.familiarity import familiarities
from oddeven.runtime.images.encode import to_png_base64

ROW = FORMATS["mediapipe"]


def made(folder, model, spec, pixels):
    """The model in this form and in plain int8."""
    low, high = spec.input.low, spec.input.high
    source = Conversion(model, spec, (low + pixels * np.float32((high - low) / 255)).astype(np.float32))
    paths = []
    for name in ("mediapipe", "tflite-int8"):
        paths.append(folder / FORMATS[name].file_name(spec.name))
        paths[-1].write_bytes(FORMATS[name].convert(source))
    return paths


def scores(path, pixels):
    """uint8 (N, 2), as the interpreter gives them for pixels, uint8 (N, H, W, 3)."""
    interpreter = Interpreter(str(path))
    (source,), (sink, *_) = interpreter.get_input_details(), interpreter.get_output_details()
    assert (source["dtype"], sink["dtype"]) == (np.uint8, np.uint8)
    assert source["shape"].tolist() == [1, *pixels.shape[1:]]
    assert sink["quantization"] == (pytest.approx(1 / 255), 0)
    interpreter.resize_tensor_input(source["index"], pixels.shape)
    interpreter.allocate_tensors()
    interpreter.set_tensor(source["index"], pixels)
    interpreter.invoke()
    return interpreter.get_tensor(sink["index"]).astype(int)


@pytest.mark.parametrize("threshold", [0.5, 0.8])
def test_two_scores_add_up_to_one_and_the_higher_is_the_label_of_the_plain_file(tmp_path, raw, threshold):
    model, spec = keras.saving.load_model(SHIPPED / "cnn.keras", compile=False), read_spec(SHIPPED / "cnn.keras")
    ours, plain = made(tmp_path, model, replace(spec, threshold=threshold), raw["x_train"][:200, ..., None])
    pixels = raw["x_test"][:2000, ..., None]
    found = scores(ours, np.repeat(pixels, 3, axis=-1))
    np.testing.assert_array_equal(found.sum(axis=1), 255)
    with Classifier.load(plain) as classifier, Classifier.load(ours) as same:
        expected = classifier.probabilities(pixels) > threshold
        np.testing.assert_array_equal(same.probabilities(pixels) > 0.5, found[:, 1] > found[:, 0])
        assert same.spec.threshold == 0.5
    # The same integers up to where a rounding step tips.
    assert np.mean((found[:, 1] > found[:, 0]) == expected) >= 0.999


@pytest.mark.parametrize(("low", "high", "threshold"), [(0.0, 1.0, 0.5), (-1.0, 1.0, 0.5), (0.5, 1.5, 0.1)])
def test_a_colour_model_of_any_value_range_takes_pixels(tmp_path, low, high, threshold):
    keras.utils.set_random_seed(0)
    layers = [keras.Input((12, 10, 3)), keras.layers.Conv2D(4, 3, activation="relu"), keras.layers.Flatten(),
              keras.layers.Dense(1, activation="sigmoid")]  # fmt: skip
    spec = replace(read_spec(SHIPPED / "cnn.keras"), familiarity=None, min_familiarity=0.0)
    view = replace(spec.input, height=12, width=10, channels=3, low=low, high=high, polarity="any",
                   preprocessing="squash", parameters={})  # fmt: skip
    pixels = np.random.default_rng(0).integers(0, 256, (200, 12, 10, 3), np.uint8)
    model = keras.Sequential(layers)
    model.layers[-1].bias.assign([0.1])  # the converter leaves out one of zeros
    ours, _ = made(tmp_path, model, replace(spec, input=view, threshold=threshold), pixels)
    p = model.predict(low + pixels * np.float32((high - low) / 255), verbose=0)[:, 0]
    expected = 1 / (1 + (1 / p - 1) * threshold / (1 - threshold))  # the sum moved: the threshold is one half
    # Of an untrained model, whose probabilities are spread: eight bits of weights, activations and sums.
    assert np.abs(scores(ours, pixels)[:, 1] / 255 - expected).max() < 0.03
    with Classifier.load(ours) as classifier:  # takes the same pixels
        np.testing.assert_array_equal(np.round(classifier.probabilities(pixels) * 255), scores(ours, pixels)[:, 1])
    assert ROW.limits(replace(spec, input=view)) == ()


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
@pytest.mark.slow
def test_verify_takes_a_file_whose_value_range_is_not_the_models(tmp_path, run):
    model = keras_model(span=2.0)
    model.layers[-1].bias.assign([0.1])  # the converter leaves out one of zeros
    model.save(tmp_path / "mine.keras")
    images = write_images(tmp_path / "images", 700)
    done = oddeven_here("export", tmp_path / "mine.keras", "--labels", "blue,red", "--data", images, "--range", "-1..1",
                        "--format", "mediapipe", "--policy", "small", "--out", tmp_path / "out")  # fmt: skip
    assert done.returncode == 0, done.stderr
    manifest = json.loads((tmp_path / "out" / "mine" / "manifest.json").read_text())
    assert (manifest["spec"]["input"]["low"], manifest["files"][0]["low"]) == (-1.0, 0.0)
    done = run("verify", tmp_path / "out", "--engine", "litert", "--policy", "small")
    assert done.returncode == 0, done.stderr


def test_the_file_tells_mediapipe_its_labels_in_every_language(tmp_path, raw):
    model, spec = keras.saving.load_model(SHIPPED / "mlp.keras", compile=False), read_spec(SHIPPED / "mlp.keras")
    named = replace(spec, display_names={"ko": ("짝수", "홀수")})
    path, _ = made(tmp_path, model, named, raw["x_train"][:50, ..., None])
    assert path.name == "mlp.int8.mediapipe.tflite"
    (graph,) = read_metadata(path.read_bytes(), path)["subgraph_metadata"]
    (image,), (output, _) = graph["input_tensor_metadata"], graph["output_tensor_metadata"]
    assert image["content"]["content_properties"]["ImageProperties"]["color_space"] == 1
    files = [(file["name"], file.get("locale"), file["type"]) for file in output["associated_files"]]
    assert files == [("labels.txt", None, 2), ("labels_ko.txt", "ko", 2)]
    with zipfile.ZipFile(path) as archive:
        assert archive.read("labels_ko.txt").decode().split() == ["짝수", "홀수"]
    (said,) = ROW.limits(named)
    assert "does not prepare it by 'mnist'" in said


def test_without_mediapipe_the_pip_line_is_named(tmp_path, raw):
    if importlib.util.find_spec("mediapipe"):
        pytest.skip("mediapipe is installed here")
    model, spec = keras.saving.load_model(SHIPPED / "mlp.keras", compile=False), read_spec(SHIPPED / "mlp.keras")
    path, plain = made(tmp_path, model, spec, raw["x_train"][:50, ..., None])
    with pytest.raises(MissingPackageError, match=r"pip install 'oddeven\[mediapipe\]'"):
        Classifier.load(path, engine="mediapipe")
    assert Classifier.load(plain).engine.name == "litert"


def test_a_model_whose_threshold_cannot_be_moved_is_refused(tmp_path, raw):
    image = keras.Input((28, 28, 1))
    total = keras.layers.GlobalAveragePooling2D()(image)
    model = keras.Model(image, keras.layers.Activation("sigmoid")(total))
    with pytest.raises(ModelError, match="does not end in a dense layer with a bias and a sigmoid"):
        made(tmp_path, model, read_spec(SHIPPED / "cnn.keras"), raw["x_train"][:50, ..., None])


def test_a_bias_that_is_missing_cannot_take_a_threshold(tmp_path, raw):
    layers = [keras.Input((28, 28, 1)), keras.layers.Flatten(), keras.layers.Dense(1, "sigmoid", use_bias=False)]
    spec = replace(read_spec(SHIPPED / "cnn.keras"), familiarity=None, min_familiarity=0.0)
    made(tmp_path, keras.Sequential(layers), spec, raw["x_train"][:50, ..., None])
    with pytest.raises(ModelError, match="does not end in a dense layer with a bias and a sigmoid"):
        made(tmp_path, keras.Sequential(layers), replace(spec, threshold=0.7), raw["x_train"][:50, ..., None])


@pytest.mark.long
def test_mediapipe_itself_predicts_what_keras_does(tmp_path, run):
    out = tmp_path / "artifacts"
    done = run("export", SHIPPED / "cnn.keras", "--out", out, "--format", "mediapipe", "--format", "tflite-int8")
    assert done.returncode == 0, done.stderr
    assert "MediaPipe scales an image to 28x28 and does nothing else" in done.stdout
    (record, _) = json.loads((out / "cnn" / "manifest.json").read_text())["files"]
    assert "does nothing else" in record["notes"][0]
    python = environment(tmp_path / "plain", f"{ROOT}[mediapipe]")
    said = checked(python.with_name("oddeven"), "verify", out, "--engine", "mediapipe", "--json", "-", "--strict")
    (file,) = json.loads(said)["files"]
    assert (file["engine"], file["parity"]["count"], file["parity"]["verdict"]) == ("mediapipe", 10_000, "PASS")
    (snippet,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "phones.md").read_text(), re.DOTALL)
    photo = tmp_path / "photo.png"
    keras.utils.save_img(photo, np.zeros((280, 280, 3)), scale=False)
    (tmp_path / "cnn.int8.mediapipe.tflite").write_bytes((out / "cnn" / "cnn.int8.mediapipe.tflite").read_bytes())
    done = subprocess.run([python, "-c", snippet], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    label, score = done.stdout.split()
    assert label in {"even", "odd"}
    assert 0.5 <= float(score) <= 1


PAGE = """<!doctype html><meta charset="utf-8"><link rel="icon" href="data:,">
<script type="importmap">{"imports": {
    "@mediapipe/tasks-vision": "./node_modules/@mediapipe/tasks-vision/vision_bundle.mjs"}}</script>
<script type="module">
const image = document.createElement("canvas");
image.width = image.height = 28;
%s
window.classify = async (file) => {
    const bytes = Uint8Array.from(atob(file), (c) => c.charCodeAt(0));
    const result = classifier.classify(await createImageBitmap(new Blob([bytes])));
    const [scores, familiarity] = result.classifications;
    const named = Object.fromEntries(scores.categories.map((c) => [c.categoryName, c.score]));
    return {...named, familiarity: familiarity.categories[0].score};
};
</script>"""
ALL = """async (files) => {
    while (!window.classify) await new Promise((resolve) => setTimeout(resolve, 50));
    return Promise.all(files.map(window.classify));
}"""


@pytest.mark.browser
def test_in_a_browser_mediapipe_gives_the_scores_of_python_for_500_images(tmp_path, raw, chromium):  # noqa: F811
    from serve.browsing import browsing, hosting

    model, spec = keras.saving.load_model(SHIPPED / "cnn.keras", compile=False), read_spec(SHIPPED / "cnn.keras")
    path, _ = made(tmp_path, model, spec, raw["x_train"][:200, ..., None])
    (snippet,) = re.findall(r"```js\n(.*?)```", (ROOT / "docs" / "phones.md").read_text(), re.DOTALL)
    (tmp_path / "index.html").write_text(PAGE % snippet)
    npm = ["npm", "install", "--ignore-scripts", "--no-audit", "--no-fund", f"--prefix={tmp_path}"]
    subprocess.run([*npm, "@mediapipe/tasks-vision@1.1.0"], check=True, stdout=subprocess.DEVNULL)
    digits = raw["x_test"][:500]
    files = [to_png_base64(digit[..., None]) for digit in digits]
    with hosting(tmp_path) as url, browsing(chromium, url, ready="body") as page:
        page.set_default_timeout(300_000)
        got = page.evaluate(ALL, files)
    with Classifier.load(path) as classifier:
        expected, known = classifier.scores(digits[..., None])
    np.testing.assert_allclose([given["odd"] for given in got], expected, atol=1e-6)
    raw_familiarities = np.array([given["familiarity"] for given in got])
    np.testing.assert_allclose(familiarities(raw_familiarities, spec.familiarity), known, atol=1e-6)
    assert {frozenset(given) for given in got} == {frozenset([*spec.labels, "familiarity"])}
