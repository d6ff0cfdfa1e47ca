"""docs/your-own-model.md, command by command, with small models that oddeven did not train."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT
from export.own_models import SIDE, keras_model, onnx_model, write_images
from keras import layers

from oddeven.export.conversion import Conversion
from oddeven.export.formats import FORMATS
from oddeven.runtime.artifacts.manifest import load_manifest
from oddeven.runtime.engines.metadata import read_model, read_spec
from oddeven.runtime.errors import ModelError
from oddeven.runtime.images.preprocess import to_float
from oddeven.runtime.spec import InputSpec, ModelSpec, Provenance
from oddeven.train.data.dataset import ImageSource
from oddeven.train.data.image_folder import load_image_set

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")]

PAGE = (ROOT / "docs" / "your-own-model.md").read_text()
COMMANDS = "".join(re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)).splitlines()


@pytest.fixture(scope="module")
def walk(tmp_path_factory):
    """The folder after all commands of the page, and what each printed."""
    folder = tmp_path_factory.mktemp("walk")
    parts = write_images(folder / "parts", 220)
    (parts / "blue").rename(parts / "defective")
    (parts / "red").rename(parts / "good")
    (folder / "new.jpg").write_bytes((parts / "good" / "000.png").read_bytes())
    model = keras_model(before=[layers.Rescaling(1 / 255)])
    model.save(folder / "mine.keras")
    onnx_model(folder / "existing.onnx")
    (folder / "bare.tflite").write_bytes(bare(model, parts, folder / "cache"))
    environment = {
        **os.environ,
        "XDG_CACHE_HOME": str(folder / "cache"),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }
    printed = {}
    for command in COMMANDS:
        done = subprocess.run(
            command, shell=True, cwd=folder, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, (command, done.stdout, done.stderr)
        printed[command] = done.stdout + done.stderr
    return folder, printed


def bare(model, parts, cache):
    """The int8 file of `model`, as somebody else's converter leaves it: without a spec."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(cache))
        view = InputSpec(SIDE, SIDE, 3, 0.0, 255.0)
        images = load_image_set(ImageSource(str(parts), view, "good")).train.images
    spec = ModelSpec("bare", ("defective", "good"), view, Provenance("", "", "", 0, 0, {}))
    content = FORMATS["tflite-int8"].convert(Conversion(model, spec, to_float(images, view)))
    return content[: content.rindex(b"PK\x03\x04", 0, content.index(b"metadata.json"))]


def test_the_range_is_found_and_every_file_passes(walk):
    folder, printed = walk
    assert re.search(r"mine\.keras: value range 0\.\.255, right for 100\.0% of 100 images", printed[COMMANDS[0]])
    for name, formats in (("mine", 8), ("existing", 4)):
        manifest = load_manifest(folder / "artifacts" / name)
        assert [file.parity.verdict for file in manifest.files] == ["PASS"] * formats
        assert manifest.spec.labels == ("defective", "good")
        assert manifest.spec.provenance.dataset == "parts"


def test_a_bare_file_carries_its_labels_and_a_seal_now(walk):
    folder, printed = walk
    spec, model = read_spec(folder / "bare.tflite"), read_model(folder / "bare.tflite")
    assert (spec.labels, spec.input.low, spec.input.high) == (("defective", "good"), 0.0, 255.0)
    assert model.sealed
    damaged = bytearray(model.content)
    damaged[1000] ^= 1
    (folder / "damaged.tflite").write_bytes(damaged)
    with pytest.raises(ModelError, match="is damaged"):
        read_model(folder / "damaged.tflite")
    predicted = printed["oddeven predict new.jpg --model bare.tflite"].splitlines()[-1]
    assert re.fullmatch(r"new\.jpg +good +[01]\.\d+", predicted)
    assert (folder / "mine-pi.zip").is_file()
