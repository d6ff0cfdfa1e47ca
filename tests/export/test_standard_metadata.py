"""What other tools read of an exported file: Google's TFLite metadata, ONNX's keys, labels in other languages."""

from __future__ import annotations

import json
import zipfile

import onnx
import pytest
from conftest import SHIPPED, oddeven_here

from oddeven.runtime.engines.metadata import read_model
from oddeven.runtime.engines.tflite_metadata import IDENTIFIER, decode, read_metadata
from oddeven.runtime.errors import ModelError

ABOUT = ("--author", "A. Maker", "--license", "apache-2.0", "--description", "Sorts digits.", "--model-version", "3")
NAMES = ("--display-names", "ko=짝수,홀수", "--display-names", "pt-BR=par,ímpar")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The shipped mlp with everything that can be said of it, by the real command."""
    out = tmp_path_factory.mktemp("said")
    formats = ("--format", "tflite-int8", "--format", "onnx-int8")
    done = oddeven_here("export", SHIPPED / "mlp.keras", "--out", out, *formats, *ABOUT, *NAMES)
    assert done.returncode == 0, done.stderr
    return out / "mlp"


def test_a_tflite_file_says_what_its_pixels_and_its_probability_mean(folder):
    path = folder / "mlp.int8.tflite"
    told = read_metadata(path.read_bytes(), path)
    assert (told["name"], told["author"], told["license"], told["version"]) == ("mlp", "A. Maker", "apache-2.0", "3")
    assert told["description"] == "Sorts digits."
    (graph,) = told["subgraph_metadata"]
    (image,), (probability,) = graph["input_tensor_metadata"], graph["output_tensor_metadata"]
    assert image["content"]["content_properties"]["ImageProperties"] == {
        "color_space": 2, "default_size": {"width": 28, "height": 28},
    }  # fmt: skip
    assert image["process_units"] == [{"options": {"NormalizationOptions": {"mean": [0.0], "std": [255.0]}}}]
    assert "'odd' is predicted above 0.5" in probability["description"]
    assert "associated_files" not in probability  # one probability has no axis of two labels


def test_an_onnx_file_names_its_author_and_licence(folder):
    model = onnx.load(folder / "mlp.int8.onnx")
    onnx.checker.check_model(model, full_check=True)
    properties = {row.key: row.value for row in model.metadata_props}
    assert (properties["model_author"], properties["model_license"]) == ("A. Maker", "apache-2.0")
    assert (model.model_version, model.doc_string) == (3, "Sorts digits.")


@pytest.mark.parametrize("name", ["mlp.int8.tflite", "mlp.int8.onnx"])
def test_info_shows_what_other_tools_read(folder, run, name):
    told = json.loads(run("info", folder / name, "--json").stdout)["metadata"]
    assert "A. Maker" in (told.get("author"), told.get("model_author"))
    assert "A. Maker" in run("info", folder / name).stdout


def test_labels_are_shown_in_the_language_that_is_asked_for(folder, run, digit):
    for name in ("mlp.int8.tflite", "mlp.int8.onnx"):
        done = run("predict", digit, "--model", folder / name, "--locale", "ko", "--json")
        assert json.loads(done.stdout)["label"] == "홀수", done.stderr
    done = run("predict", digit, "--model", folder / "mlp.int8.tflite", "--locale", "fr")
    assert (done.returncode, done.stdout) == (2, "")
    assert "There is no language of mlp.int8.tflite 'fr'; known are ko, pt-BR." in done.stderr
    with zipfile.ZipFile(folder / "mlp.int8.tflite") as archive:
        assert archive.read("labels_pt-BR.txt").decode().split() == ["par", "ímpar"]


@pytest.mark.parametrize(
    ("names", "says"),
    [
        ("ko=짝수", "expected two different names"),
        ("ko=a,b,c", "expected two different names"),
        ("ko=a,a", "expected two different names"),
        ("k_o=a,b", "'k_o' is no BCP 47 tag"),
        ("a,b", "is no BCP 47 tag"),
    ],
)
def test_names_of_labels_that_do_not_exist_and_locales_that_are_none_are_refused(run, tmp_path, names, says):
    out = tmp_path / "out"
    done = run("export", SHIPPED / "mlp.keras", "--out", out, "--display-names", names)
    assert (done.returncode, done.stdout) == (2, "")
    assert says in done.stderr
    assert "Traceback" not in done.stderr
    assert not out.exists()


def test_damaged_metadata_are_an_error_of_the_model_whatever_byte_is_wrong(folder):
    path = folder / "mlp.int8.tflite"
    content = path.read_bytes()
    flatbuffer = bytearray(content[: content.index(b"PK\3\4")])
    block = flatbuffer.rindex(IDENTIFIER) - 4
    size = len(decode("Model", bytes(flatbuffer))["buffers"][-1]["data"])
    refused = []
    for position in range(block, block + size):
        damaged = bytearray(flatbuffer)
        damaged[position] ^= 0xFF
        try:
            read_metadata(bytes(damaged), path)
        except ModelError as error:
            refused.append(str(error))
    assert len(refused) > size / 10
    assert all("TFLITE_METADATA is damaged" in message for message in refused)
    assert read_model(path).sealed
