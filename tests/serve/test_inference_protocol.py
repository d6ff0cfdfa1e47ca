"""The Open Inference Protocol: a standard client against the server, and requests that are not as they should be."""

from __future__ import annotations

import json
import struct

import numpy as np
import pytest

from oddeven.runtime import Classifier
from oddeven.runtime.prediction import UNKNOWN

tritonclient = pytest.importorskip("tritonclient.http")
InferenceServerException = tritonclient.InferenceServerException
STEP = 1 / 256  # of an 8-bit output


@pytest.fixture(scope="module")
def client(server):
    with tritonclient.InferenceServerClient("{}:{}".format(*server.address)) as client:
        yield client


@pytest.fixture(scope="module")
def images(raw):
    return raw["x_test"][:7, :, :, np.newaxis]


@pytest.fixture(scope="module")
def expected(images):
    with Classifier.load("cnn") as classifier:
        return np.array([prediction.scores["odd"] for prediction in classifier.predict_ready(images)])


def tensor(images, binary=True, datatype="UINT8"):
    given = tritonclient.InferInput("image", list(images.shape), datatype)
    given.set_data_from_numpy(images, binary_data=binary)
    return given


def test_health_and_metadata(client):
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("cnn")
    assert not client.is_model_ready("other")
    assert "binary_tensor_data" in client.get_server_metadata()["extensions"]
    metadata = client.get_model_metadata("cnn", "1")
    assert metadata["inputs"] == [{"name": "image", "datatype": "UINT8", "shape": [-1, 28, 28, 1]}]
    assert [output["name"] for output in metadata["outputs"]] == ["probability", "label", "familiarity"]


@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize("binary_output", [True, False])
def test_ready_pixels_get_the_probabilities_of_the_python_api(client, images, expected, binary, binary_output):
    outputs = [tritonclient.InferRequestedOutput(name, binary_data=binary_output) for name in ("probability", "label")]
    result = client.infer("cnn", [tensor(images, binary)], request_id="seven", outputs=outputs)
    assert result.get_response()["id"] == "seven"
    p = result.as_numpy("probability")
    assert p.shape == (7, 1)
    np.testing.assert_allclose(p[:, 0], expected, rtol=0, atol=STEP / 2)
    labels = [label.decode() if isinstance(label, bytes) else label for label in result.as_numpy("label")[:, 0]]
    assert labels == ["odd" if value > 0.5 else "even" for value in expected]


def test_an_image_that_is_not_familiar_is_unknown_as_for_predict(client):
    noise = np.random.default_rng(0).integers(0, 256, (3, 28, 28, 1)).astype(np.uint8)
    result = client.infer("cnn", [tensor(noise)])
    with Classifier.load("cnn") as classifier:
        predictions = classifier.predict_ready(noise)
    assert {prediction.label for prediction in predictions} == {UNKNOWN}
    assert {bytes(label) for label in result.as_numpy("label")[:, 0]} == {UNKNOWN.encode()}
    familiarity = [prediction.familiarity for prediction in predictions]
    np.testing.assert_allclose(result.as_numpy("familiarity")[:, 0], familiarity, rtol=0, atol=1e-6)


def test_without_named_outputs_all_come_and_one_may_be_asked_for(client, images):
    assert client.infer("mlp", [tensor(images)]).as_numpy("label") is not None
    only = client.infer("mlp", [tensor(images)], outputs=[tritonclient.InferRequestedOutput("probability")])
    assert only.as_numpy("label") is None


@pytest.mark.parametrize("binary", [True, False])
def test_image_files_as_bytes_are_prepared_by_the_server(client, digit, expected, binary):
    import base64

    content = digit.read_bytes()
    given = tensor(np.array([content if binary else base64.b64encode(content)] * 2, dtype=np.object_), binary, "BYTES")
    p = client.infer("cnn", [given]).as_numpy("probability")
    np.testing.assert_allclose(p[:, 0], expected[:1].repeat(2), rtol=0, atol=STEP / 2)


def test_what_the_model_does_not_take_is_refused_with_a_reason(client, images):
    for wrong, reason in (
        (tensor(images[:, :27]), "shape"),
        (tensor(images.astype(np.float32), datatype="FP32"), "UINT8"),
        (tensor(np.array([b"no image"], dtype=np.object_), datatype="BYTES"), "Image 0"),
    ):
        with pytest.raises(InferenceServerException, match=reason):
            client.infer("cnn", [wrong])
    with pytest.raises(InferenceServerException, match="no model"):
        client.infer("other", [tensor(images)])
    with pytest.raises(InferenceServerException, match="one version"):
        client.infer("cnn", [tensor(images)], model_version="2")
    with pytest.raises(InferenceServerException, match="no output"):
        client.infer("cnn", [tensor(images)], outputs=[tritonclient.InferRequestedOutput("other")])


GOOD = {"name": "image", "datatype": "UINT8", "shape": [1, 28, 28, 1], "data": [0] * 784}
MALFORMED = {
    "no JSON": b"{",
    "a list": [],
    "no inputs": {},
    "two inputs": {"inputs": [GOOD, GOOD]},
    "another name": {"inputs": [{**GOOD, "name": "x"}]},
    "a number for a shape": {"inputs": [{**GOOD, "shape": 784}]},
    "an empty batch": {"inputs": [{**GOOD, "shape": [0, 28, 28, 1], "data": []}]},
    "a huge batch": {"inputs": [{**GOOD, "shape": [2**30, 28, 28, 1]}]},
    "a huge number": {"inputs": [{**GOOD, "shape": [10**30, 28, 28, 1]}]},
    "a fraction": {"inputs": [{**GOOD, "data": [0.5] * 784}]},
    "text": {"inputs": [{**GOOD, "data": ["0"] * 784}]},
    "more than a byte": {"inputs": [{**GOOD, "data": [256] * 784}]},
    "more than 64 bits": {"inputs": [{**GOOD, "data": [10**30] * 784}]},
    "ragged": {"inputs": [{**GOOD, "data": [[0], 0]}]},
    "deep": b'{"inputs":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "parameters": {"inputs": [{**GOOD, "parameters": []}]},
    "a size without bytes": {"inputs": [{**GOOD, "parameters": {"binary_data_size": 784}}]},
    "no base64": {"inputs": [{**GOOD, "datatype": "BYTES", "shape": [1], "data": ["?"]}]},
}


@pytest.mark.parametrize("case", MALFORMED)
def test_a_malformed_request_is_one_sentence(server, case):
    body = MALFORMED[case] if isinstance(MALFORMED[case], bytes) else json.dumps(MALFORMED[case])
    status, _, content = server.ask("POST", "/v2/models/cnn/infer", body)
    assert status == 400, content
    assert json.loads(content)["error"].endswith(".")


@pytest.mark.parametrize("length", ["x", "-1", "99999999999", "9" * 5000, "1"])
def test_a_wrong_header_length_is_refused(server, length):
    status, _, _ = server.ask("POST", "/v2/models/cnn/infer", json.dumps({"inputs": [GOOD]}), **{
        "inference-header-content-length": length})  # fmt: skip
    assert status == 400


def test_files_whose_lengths_lie_are_refused(server):
    for content in (struct.pack("<I", 100) + b"abc", b"\x01", struct.pack("<I", 2**32 - 1)):
        request = {"name": "image", "datatype": "BYTES", "shape": [1], "parameters": {"binary_data_size": len(content)}}
        head = json.dumps({"inputs": [request]}).encode()
        status, _, _ = server.ask("POST", "/v2/models/cnn/infer", head + content, **{
            "inference-header-content-length": str(len(head))})  # fmt: skip
        assert status == 400
