"""int8 models as C: bit for bit what tflite-micro computes, and what LiteRT does with the other rounding."""

from __future__ import annotations

import ctypes
import dataclasses
import io
import re
import shutil
import subprocess
import zipfile
from pathlib import Path

import numpy as np
import pytest
from conftest import SHIPPED, benchmark, oddeven

from oddeven.export.c import library
from oddeven.export.c.graph import read_graph
from oddeven.export.c.kernels import KERNELS
from oddeven.export.c.library import c_library
from oddeven.export.conversion import Conversion
from oddeven.export.formats import FORMATS
from oddeven.runtime.artifacts.manifest import load_manifest
from oddeven.runtime.artifacts.resolve import bundled
from oddeven.runtime.engines.metadata import read_spec
from oddeven.runtime.engines.registry import installed, open_engine
from oddeven.runtime.errors import MissingPackageError, ModelError, UsageError
from oddeven.runtime.parity.check import PASS

COUNT = 300
TINY = benchmark("microcontrollers").TINY
emulation = benchmark("emulation")
HOST_FLAGS, SINGLE_ROUNDING, unpack, compute = (
    emulation.HOST_FLAGS, emulation.SINGLE_ROUNDING, emulation.unpack, emulation.compute,
)  # fmt: skip
LEAST_TINY = 0.996
NAMES = ("mlp", "cnn", "deep_cnn")
COMPILERS = (
    ("gcc", "-std=c99"), ("clang", "-std=c99"), ("g++", "-xc++", "-std=c++11"), ("clang++", "-xc++", "-std=c++11"),
)  # fmt: skip
# Reads images from stdin, writes the answers to stdout.
HARNESS = """
#include <stdio.h>
#include "oddeven_{0}.h"
static uint8_t pixels[ODDEVEN_{1}_PIXELS];
int main(void)
{{
    while (fread(pixels, sizeof pixels, 1, stdin) == 1)
        putchar(oddeven_{0}_probability(pixels));
    return 0;
}}
"""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not shutil.which("gcc"), reason="no C compiler: apt-get install gcc libc6-dev"),
]


def oracle(path, engine, images):
    opened = open_engine(path, engine)
    q_answers = np.concatenate(opened.invoke(images), axis=1)
    opened.close()
    return q_answers


def check_both_roundings(path, images, folder):
    """Byte for byte as tflite-micro and as LiteRT; for how many labels the two roundings differ."""
    source = unpack(path, folder)
    double, single = (compute(source, images, *flags) for flags in ((), (SINGLE_ROUNDING,)))
    litert = oracle(path, "litert", images)
    outputs = litert.shape[1]
    assert all(len(set(output.tolist())) > 5 for output in litert.T)
    np.testing.assert_array_equal(single[:, 0], litert[:, 0])
    # The familiarity takes means, which XNNPACK computes in float32: see below.
    np.testing.assert_allclose(single[:, 1:outputs].astype(int), litert[:, 1:].astype(int), rtol=0, atol=3)
    if installed("tflite-micro"):
        np.testing.assert_array_equal(double[:, :outputs], oracle(path, "tflite-micro", images))
    one, two = single[:, 0], double[:, 0]
    return int(((one > 128) != (two > 128)).sum())


@pytest.mark.parametrize("name", NAMES)
def test_the_shipped_models_answer_byte_for_byte(name, raw, tmp_path):
    images = raw["x_test"][:COUNT, ..., None]
    assert check_both_roundings(bundled()[name], images, tmp_path) == 0


def test_tiny_keeps_to_its_limits(raw):
    with zipfile.ZipFile(io.BytesIO(c_library(TINY.read_bytes(), read_spec(TINY)))) as archive:
        header = archive.read("oddeven_tiny/src/oddeven_tiny.h").decode()
    flash, ram = (int(figure) for figure in re.findall(r"(\d+) bytes", header))
    assert (TINY.stat().st_size <= 20_000, flash <= 16_000, ram <= 16_000) == (True, True, True)
    predicted = oracle(TINY, "litert", raw["x_test"][..., None])[:, 0] > 128
    assert (predicted == raw["y_test"] % 2).mean() >= LEAST_TINY


def test_a_label_is_escaped_in_c_and_nowhere_else():
    spec = dataclasses.replace(read_spec(TINY), labels=("défaut?", "good"))
    with zipfile.ZipFile(io.BytesIO(c_library(TINY.read_bytes(), spec))) as archive:
        texts = {Path(name).name: archive.read(name).decode() for name in archive.namelist()}
    assert r'_labels[2] = {"d\303\251faut\077", "good"};' in texts["oddeven_tiny.c"]
    assert "whether an image is `défaut?` or `good`." in texts["README.md"]
    assert '"défaut?" or "good"' in texts["library.properties"]


def test_litert_takes_a_mean_in_float(raw, tmp_path):
    """XNNPACK rounds the float32 product to even, so a few of 10,000 outputs may be some steps off; no label."""
    images = raw["x_test"][..., None]
    single = compute(unpack(TINY, tmp_path), images, SINGLE_ROUNDING)[:, 0].astype(int)
    litert = oracle(TINY, "litert", images)[:, 0].astype(int)
    assert (single != litert).sum() < 5
    assert abs(single - litert).max() < 4
    np.testing.assert_array_equal(single > 128, litert > 128)


@pytest.fixture(scope="module")
def conversion(raw):
    """A network of what the shipped ones have not: padding, strides, depthwise, residual, swish, mean."""
    import keras
    from keras import layers

    keras.utils.set_random_seed(3)
    x = image = keras.Input((28, 28, 1))
    x = layers.Conv2D(8, 3, strides=2, padding="same", activation="swish")(x)
    y = layers.DepthwiseConv2D(3, padding="same", depth_multiplier=2, activation="relu6")(x)
    y = layers.Conv2D(8, 1)(y)
    x = layers.ReLU()(layers.Add()([x, y]))
    x = layers.MaxPooling2D(3, strides=2, padding="same")(x)
    x = layers.DepthwiseConv2D(5, strides=2, padding="same", activation="tanh")(x)
    wide = keras.initializers.RandomNormal(stddev=20)  # so that the images get many different outputs
    greatest = layers.Dense(1, use_bias=False, kernel_initializer=wide)(layers.GlobalMaxPooling2D()(x))
    x = layers.GlobalAveragePooling2D()(x)
    raw_familiarity = layers.ReLU()(layers.Add()([greatest, layers.Dense(1)(x)]))
    probability = layers.Dense(1, activation="sigmoid", kernel_initializer=wide)(x)
    model = keras.Model(image, [probability, raw_familiarity])
    spec = dataclasses.replace(read_spec(SHIPPED / "cnn.keras"), name="other")
    return Conversion(model, spec, raw["x_train"][:100, ..., None] / np.float32(255))


@pytest.fixture(scope="module")
def other(conversion, tmp_path_factory):
    """It as an int8 file."""
    path = tmp_path_factory.mktemp("other") / "other.int8.tflite"
    path.write_bytes(FORMATS["tflite-int8"].convert(conversion))
    return path


def test_every_operator_answers_byte_for_byte(other, raw, tmp_path):
    check_both_roundings(other, raw["x_test"][:COUNT, ..., None], tmp_path)
    operators, _, sinks = read_graph(other.read_bytes())
    assert {operator.kind for operator in operators} == set(KERNELS)
    assert len(sinks) == 2


@pytest.mark.parametrize("name", [*NAMES, "other"])
@pytest.mark.parametrize("compiler", COMPILERS, ids=lambda command: command[0])
def test_every_compiler_takes_it_without_a_warning(name, compiler, request, tmp_path):
    if not shutil.which(compiler[0]):
        pytest.skip(f"no {compiler[0]}: apt-get install g++ clang")
    source = unpack(bundled()[name] if name in NAMES else request.getfixturevalue("other"), tmp_path)
    subprocess.run([*compiler, *HOST_FLAGS, "-c", "-o", tmp_path / "model.o", source], check=True)


@pytest.mark.parametrize(("name", "count"), [("mlp", 500), ("cnn", 100), ("deep_cnn", 30), ("other", 10_000)])
def test_random_images_upset_no_sanitizer(name, count, request, tmp_path):
    path = bundled()[name] if name in NAMES else request.getfixturevalue("other")
    source, main = unpack(path, tmp_path), tmp_path / "main.c"
    main.write_text(HARNESS.format(name, name.upper()))
    flags = ["-fsanitize=address,undefined", "-fno-sanitize-recover", "-O1", f"-I{source.parent}"]
    subprocess.run(["gcc", "-std=c99", *flags, "-o", tmp_path / "run", main, source], check=True)
    images = np.random.default_rng(1).integers(0, 256, (count, 28, 28, 1), np.uint8)
    done = subprocess.run([tmp_path / "run"], input=images.tobytes(), capture_output=True, check=False, timeout=300)
    assert (done.returncode, done.stderr) == (0, b"")
    np.testing.assert_array_equal(np.frombuffer(done.stdout, np.uint8), compute(source, images)[:, 0])


def test_the_makefile_builds_a_static_library(tmp_path):
    folder = unpack(bundled()["mlp"], tmp_path).parents[1]
    subprocess.run(["make", "-s", "-C", folder, "CC=gcc", "CFLAGS=-O0 -Werror"], check=True)
    (built,) = folder.glob("*.a")
    listed = subprocess.run(["nm", built], capture_output=True, text=True, check=True).stdout
    assert "T oddeven_mlp_predict" in listed


def test_squash_averages_pixels(tmp_path):
    source = unpack(bundled()["mlp"], tmp_path)
    compute(source, [])
    squash = ctypes.CDLL(str(source.with_name("library.so"))).oddeven_mlp_squash
    image = np.random.default_rng(2).integers(0, 256, (56, 84), np.uint8)
    pixels = ctypes.create_string_buffer(784)
    squash(ctypes.c_char_p(image.tobytes()), 56, 84, pixels)
    mean = image.reshape(28, 2, 28, 3).mean((1, 3))
    np.testing.assert_array_equal(np.frombuffer(pixels.raw, np.uint8).reshape(28, 28), np.floor(mean + 0.5))


def test_export_writes_and_proves_it_and_verify_judges_the_compiled_code(tmp_path):
    done = oddeven("export", SHIPPED / "mlp.keras", "--out", tmp_path, "--format", "c", "--format", "tflite-int8")
    assert done.returncode == 0, done.stderr
    record, tflite = load_manifest(tmp_path / "mlp").files
    assert (record.file, record.format, record.parity.verdict) == ("mlp.int8.zip", "c", PASS)
    model, archive = tmp_path / "mlp" / tflite.file, tmp_path / "mlp" / record.file
    assert c_library(model.read_bytes(), read_spec(model)) == archive.read_bytes()
    done = oddeven("verify", tmp_path, "--engine", "c")
    assert done.returncode == 0, done.stderr
    done = oddeven("verify", tmp_path)
    assert done.returncode == 0, done.stderr
    assert "mlp.int8.zip holds code" in done.stderr
    for command in ("selftest", "bench"):
        done = oddeven(command, archive, "--engine", "c", "--json")
        assert done.returncode == 0, done.stderr
        assert '"engine": "c' in done.stdout
    with pytest.raises(UsageError, match="holds code"):
        open_engine(archive)


def test_an_archive_that_cannot_be_built_is_refused(other, tmp_path, monkeypatch):
    content = c_library(other.read_bytes(), read_spec(other))
    path = tmp_path / "other.int8.zip"
    path.write_bytes(content[:-30])
    with pytest.raises(ModelError, match=r"damaged|no C library made by oddeven export"):
        open_engine(path, "c")
    with zipfile.ZipFile(io.BytesIO(content)) as whole, zipfile.ZipFile(path, "w") as changed:
        for name in whole.namelist():
            changed.writestr(name, b"#error no" if name.endswith(".c") else whole.read(name))
    with pytest.raises(ModelError, match=r"the C compiler refuses it .*#error no"):
        open_engine(path, "c")
    monkeypatch.setenv("PATH", "")
    with pytest.raises(MissingPackageError, match="apt install gcc libc6-dev"):
        open_engine(path, "c")


@pytest.mark.parametrize("name", ["tflite-float32", "tflite-dynamic"])
def test_files_with_float_ends_are_refused(name, conversion):
    with pytest.raises(ModelError, match=r"The tensor .* is float32; C is made of tflite-int8 files"):
        c_library(FORMATS[name].convert(conversion), conversion.spec)


def test_a_value_range_that_is_not_the_pixels_is_refused(other):
    spec = read_spec(other)
    spec = dataclasses.replace(spec, input=dataclasses.replace(spec.input, low=-1.0))
    with pytest.raises(ModelError, match=r"is not the pixels themselves but -1 to [0-9.]+; .* a Rescaling layer"):
        c_library(other.read_bytes(), spec)


def test_an_operator_without_a_kernel_is_named_with_its_layer():
    import keras
    from keras import layers

    image = keras.Input((28, 28, 1))
    x = layers.AveragePooling2D(2, name="blur")(image)
    model = keras.Model(image, layers.Dense(1, activation="sigmoid")(layers.Flatten()(x)))
    spec = dataclasses.replace(
        read_spec(SHIPPED / "cnn.keras"), precision="int8", familiarity=None, min_familiarity=0.0
    )
    images = np.random.default_rng(0).random((20, 28, 28, 1), np.float32)
    with pytest.raises(ModelError, match=r"blur.* \(AVERAGE_POOL_2D\) is not among the operators .* \(ADD, CONV_2D, "):
        FORMATS["c"].convert(Conversion(model, spec, images))


@pytest.mark.parametrize("limit", ["MOST_FLASH_BYTES", "MOST_ARENA_BYTES"])
def test_a_model_too_large_for_a_microcontroller_is_refused_with_its_numbers(limit, monkeypatch):
    monkeypatch.setattr(library, limit, 1000)
    path = bundled()["cnn"]
    with pytest.raises(ModelError, match=r"not for microcontrollers: it needs 231,030 bytes .* 27,040 bytes"):
        c_library(path.read_bytes(), read_spec(path))
