"""`oddeven serve` as a client and a stranger meet it."""

from __future__ import annotations

import json
import signal
import socket
import threading
import time

import numpy as np
import pytest
from PIL import Image
from serve.conftest import serving

from oddeven.runtime import Classifier
from oddeven.runtime.artifacts.resolve import bundled
from oddeven.runtime.serve.collection import Collection
from oddeven.train.data.listing import read_listing


def test_predict_gives_the_json_of_the_command_line(server, digit, run):
    status, headers, content = server.ask("POST", "/predict", digit.read_bytes())
    assert status == 200
    assert headers["content-type"] == "application/json"
    got = json.loads(content)
    wanted = json.loads(run("predict", "--model", "cnn", digit, "--json").stdout)
    assert {**got, "file": wanted["file"]}.items() >= wanted.items()
    assert got["model"] == "cnn"
    assert got["prepare_ms"] > 0
    assert got["infer_ms"] > 0
    assert json.loads(server.ask("POST", "/predict?model=mlp", digit.read_bytes())[2])["model"] == "mlp"


def test_what_is_no_image_is_a_sentence_and_a_blank_image_is_uncertain(server, tmp_path):
    for body, reason in ((b"", "read"), (b"GIF89a", "read"), (b"\xff" * 1000, "read")):
        status, _, content = server.ask("POST", "/predict", body)
        assert status == 400
        assert reason in json.loads(content)["error"]
    Image.new("L", (50, 50)).save(tmp_path / "blank.png")
    status, _, content = server.ask("POST", "/predict", (tmp_path / "blank.png").read_bytes())
    assert (status, json.loads(content)["label"]) == (200, "uncertain")


def test_a_form_is_told_from_the_image_file_that_it_holds(server):
    form = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.png"\r\n\r\n...\r\n--x--\r\n'
    status, _, content = server.ask("POST", "/predict", form, **{"content-type": "multipart/form-data; boundary=x"})
    assert (status, b"--data-binary" in content) == (415, True)


def test_an_image_of_too_many_pixels_is_refused_before_it_is_decoded(server, tmp_path):
    path = tmp_path / "bomb.png"
    Image.new("1", (20_000, 20_000)).save(path)
    status, _, content = server.ask("POST", "/predict", path.read_bytes())
    assert status == 400
    assert "pixels" in json.loads(content)["error"]


def test_a_body_over_the_limit_is_refused_by_its_length_and_in_chunks(server):
    status, _, _ = server.ask("POST", "/predict", b"0" * (17 << 20))
    assert status == 413
    with socket.create_connection(server.address, timeout=30) as sock:
        sock.sendall(b"POST /predict HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n")
        chunk = b"100000\r\n" + b"0" * (1 << 20) + b"\r\n"
        answer = b""
        try:
            for _ in range(17):
                sock.sendall(chunk)
            answer = sock.recv(100)
        except ConnectionError:
            pytest.fail("closed without an answer")
        assert b" 413 " in answer


def test_unknown_paths_methods_and_models(server):
    assert server.ask("GET", "/nothing")[0] == 404
    assert server.ask("GET", "/../../etc/passwd")[0] == 404
    assert server.ask("GET", "/predict")[0] == 405
    assert server.ask("POST", "/predict?model=other", b"x")[0] == 404
    assert server.ask("POST", "/keep/odd", b"x")[0] == 404
    assert server.ask("GET", "/camera")[0] == 404


def test_only_our_own_names_and_pages_are_answered(server):
    for host in ("localhost", "127.0.0.1:8000", "[::1]:8000", "192.0.2.1", socket.gethostname()):
        assert server.ask("GET", "/v2", host=host)[0] == 200, host
    for host in ("rebound.example", "localhost.example", "", "a b", "[", "127.0.0.1.example"):
        assert server.ask("GET", "/v2", host=host)[0] == 421, host
    for origin in ("http://evil.example", "null", "http://localhost:1", "http://["):
        status, headers, _ = server.ask("POST", "/predict", b"x", origin=origin)
        assert status == 403, origin
        assert "access-control-allow-origin" not in headers
    own = "http://{}:{}".format(*server.address)
    assert server.ask("POST", "/predict", b"x", origin=own)[0] == 400  # it is looked at, and is no image


def test_every_response_carries_the_security_headers(server):
    for path in ("/", "/backend.js", "/about", "/nothing"):
        _, headers, _ = server.ask("GET", path)
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
    policy = server.ask("GET", "/")[1]["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy


def test_a_token_is_wanted_from_everyone_but_a_load_balancer():
    with serving("mlp", "--token", "secret") as server:
        address = server.url.partition("?")[0]
        assert server.url == f"{address}?token=secret"
        assert server.ask("GET", "/v2/health/live")[0] == 200
        for path in ("/", "/v2", "/metrics", "/about", "/?token=wrong", "/v2?token=secret"):
            assert server.ask("GET", path)[0] == 401, path
        for carried in ("Bearer wrong", "Bearer", "Basic secret", "Bearer \xe9"):
            assert server.ask("GET", "/v2", authorization=carried)[0] == 401
        assert server.ask("GET", "/v2", cookie="oddeven_token")[0] == 401


def test_the_page_turns_its_token_into_a_cookie():
    with serving("mlp", "--token", "abc") as server:
        status, headers, _ = server.ask("GET", "/?token=abc")
        assert (status, headers["location"]) == (303, "/")
        assert {"HttpOnly", "SameSite=strict"} <= set(headers["set-cookie"].split("; "))
        assert server.ask("GET", "/about", cookie=headers["set-cookie"].partition(";")[0])[0] == 200
        assert server.ask("GET", "/v2", authorization="Bearer abc")[0] == 200


def test_an_address_that_others_reach_gets_a_token():
    with serving("mlp", "--host", "0.0.0.0") as server:
        assert "?token=" in server.url
        token = server.url.partition("?token=")[2]
        port = int(server.url.rpartition(":")[2].partition("/")[0])
        server.url = f"http://127.0.0.1:{port}/"
        assert len(token) > 20
        assert server.ask("GET", "/v2")[0] == 401
        assert server.ask("GET", "/v2", authorization=f"Bearer {token}")[0] == 200


def test_metrics_tell_requests_errors_labels_stages_and_models(digit):
    with serving("cnn") as server:
        server.ask("POST", "/predict", digit.read_bytes())
        server.ask("POST", "/predict", b"no image")
        _, headers, content = server.ask("GET", "/metrics")
    text = content.decode()
    assert headers["content-type"].startswith("text/plain")
    assert 'oddeven_requests_total{status="200"} 1.0' in text
    assert 'oddeven_errors_total{kind="DataError"} 1.0' in text
    assert 'oddeven_predictions_total{label="odd",model="cnn"} 1.0' in text
    assert 'oddeven_stage_seconds_count{stage="infer"} 1.0' in text
    assert 'engine="litert"' in text
    assert "sha256=" in text


def test_kept_images_are_read_by_training(tmp_path, raw):
    folder = tmp_path / "kept"
    with serving("cnn", "--keep", folder) as server:
        for number in range(80):
            path = tmp_path / f"{number}.png"
            Image.fromarray(raw["x_test"][number]).save(path)
            label = "odd" if raw["y_test"][number] % 2 else "even"
            status, _, content = server.ask("POST", f"/keep/{label}", path.read_bytes())
            assert status == 201, content
        kept = json.loads(content)["kept"]
        assert sum(kept.values()) == 80
        assert server.ask("POST", f"/keep/{label}", path.read_bytes())[0] == 201  # once more is once
        other = "even" if label == "odd" else "odd"
        status, _, content = server.ask("POST", f"/keep/{other}", path.read_bytes())
        assert status == 400
        assert label in json.loads(content)["error"]
        for wrong in ("..", "%2e%2e", "..%2f..%2fetc", "other", "odd%00", ""):
            assert server.ask("POST", f"/keep/{wrong}", path.read_bytes())[0] in (404, 405), wrong
        assert server.ask("POST", "/keep/odd", b"no image")[0] == 400
        assert json.loads(server.ask("GET", "/about")[2])["kept"] == kept
    assert {path.name for path in tmp_path.iterdir()} == {"kept", *(f"{n}.png" for n in range(80))}
    listing = read_listing(folder)
    assert len(listing.records) == 80
    assert listing.labels == ("even", "odd")


def test_what_a_crash_left_of_an_image_is_not_taken_for_the_image(tmp_path, digit):
    kept, content = tmp_path / "kept", digit.read_bytes()
    collection = Collection(kept, ("even", "odd"))
    whole = kept / collection.keep("odd", content)
    whole.rename(whole.with_name(f".partial-{'0' * 16}-{whole.name}"))
    assert collection.counts() == {"even": 0, "odd": 0}
    assert (kept / collection.keep("even", content)).read_bytes() == content
    assert collection.counts() == {"even": 1, "odd": 0}


def test_a_photograph_with_a_second_image_behind_it_and_a_very_large_one_are_kept_as_jpeg(tmp_path, monkeypatch):
    photo, path = Image.linear_gradient("L").resize((2200, 2200)), tmp_path / "a.jpg"
    collection = Collection(tmp_path / "kept", ("even", "odd"))
    photo.save(path, "MPO", save_all=True, append_images=[photo.resize((60, 60))])  # as phones make them
    assert collection.keep("odd", path.read_bytes()).endswith(".jpg")
    photo.save(path)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1200 * 1200)
    assert collection.keep("odd", path.read_bytes()).endswith(".jpg")


def test_a_camera_on_the_server_gives_frames_and_predictions(video, raw):
    path = video([0, 1, 2, 3])
    with serving("cnn", "--camera", path) as server:
        labels = []
        for _ in range(4):
            status, headers, content = server.ask("GET", "/camera")
            assert status == 200
            assert content.startswith(b"\xff\xd8")
            (prediction,) = json.loads(headers["predictions"])
            labels.append(prediction["label"])
            assert prediction["capture_ms"] > 0
        assert labels == ["odd" if raw["y_test"][n] % 2 else "even" for n in range(4)]
        status, _, content = server.ask("GET", "/camera")
        assert status == 400
        assert "ended" in json.loads(content)["error"]
        assert server.ask("GET", "/camera")[0] == 200  # from its start


def test_a_camera_that_is_not_there_is_a_sentence():
    with serving("cnn", "--camera", "/dev/video99") as server:
        first, again = (server.ask("GET", "/camera") for _ in range(2))
        assert first[2] == again[2]
        status, _, content = first
        assert status == 400
        assert "/dev/video99" in json.loads(content)["error"]


def test_batches_across_requests_give_the_same_probabilities(raw):
    images = raw["x_test"][:40, :, :, np.newaxis]
    with Classifier.load("cnn") as classifier:
        expected = [prediction.scores["odd"] for prediction in classifier.predict_ready(images)]
    got = {}

    def ask(server, number):
        tensor = {
            "name": "image",
            "datatype": "UINT8",
            "shape": [1, 28, 28, 1],
            "data": images[number].ravel().tolist(),
        }
        _, _, content = server.ask("POST", "/v2/models/cnn/infer", json.dumps({"inputs": [tensor]}))
        got[number] = json.loads(content)["outputs"][0]["data"][0]

    with serving("cnn", "--batch-wait", "20") as server:
        threads = [threading.Thread(target=ask, args=(server, number)) for number in range(40)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        text = server.ask("GET", "/metrics")[2].decode()
    np.testing.assert_allclose([got[number] for number in range(40)], expected, rtol=0, atol=1 / 512)
    calls = float(text.partition('oddeven_stage_seconds_count{stage="infer"} ')[2].partition("\n")[0])
    assert calls < 40


def test_more_than_the_memory_allows_is_turned_away_at_once(server, digit):
    """Five requests announce 15 MB each and send nothing: what is over 64 MB is refused, small ones are answered."""
    head = b"POST /predict HTTP/1.1\r\nhost: localhost\r\ncontent-length: 15728640\r\n\r\n"
    held = [socket.create_connection(server.address, timeout=30) for _ in range(5)]
    try:
        for sock in held:
            sock.sendall(head)
        time.sleep(0.5)
        held[4].setblocking(True)
        answer = held[4].recv(1000)
        assert b" 503 " in answer
        assert b"retry-after: 1" in answer
        assert server.ask("POST", "/predict", digit.read_bytes())[0] == 200
    finally:
        for sock in held:
            sock.close()


def test_a_sender_who_stops_is_timed_out(server):
    with socket.create_connection(server.address, timeout=30) as sock:
        sock.sendall(b"POST /predict HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1000\r\n\r\nabc")
        start = time.monotonic()
        assert b" 408 " in sock.recv(1000)
        assert 5 < time.monotonic() - start < 20


def test_sigterm_under_load_loses_no_accepted_request(digit):
    """What the server counted as answered is what the clients got; after that, connections are refused."""
    body = digit.read_bytes()
    counts, failures, stop = [], [], threading.Event()

    def load(server):
        count = 0
        while not stop.is_set():
            try:
                with socket.create_connection(server.address, timeout=30) as sock:
                    sock.sendall(b"POST /predict HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n"
                                 b"content-length: %d\r\n\r\n" % len(body) + body)  # fmt: skip
                    answer = b""
                    while part := sock.recv(65536):
                        answer += part
            except ConnectionError:
                break  # not accepted
            if b" 200 OK" in answer and answer.endswith(b"}"):
                count += 1
            elif answer:
                failures.append(answer)
            else:
                break
        counts.append(count)

    with serving("cnn") as server:
        threads = [threading.Thread(target=load, args=(server,)) for _ in range(8)]
        for thread in threads:
            thread.start()
        time.sleep(2)
        server.process.send_signal(signal.SIGTERM)
        for thread in threads:
            thread.join(60)
        stop.set()
        server.process.wait(60)
        said = server.process.stderr.read()
    assert not failures
    assert sum(counts) > 20
    assert f"answered {sum(counts)} requests" in said


def test_clients_that_leave_before_their_answers_do_not_end_the_server(digit):
    with serving("cnn") as server:
        for _ in range(200):
            with socket.create_connection(server.address, timeout=30) as sock:
                sock.sendall(b"GET /v2 HTTP/1.1\r\nhost: localhost\r\n\r\n")
        assert server.ask("POST", "/predict", digit.read_bytes())[0] == 200


def test_the_model_of_the_environment_may_have_a_space_in_its_path(tmp_path, monkeypatch):
    path = tmp_path / "my mlp.int8.tflite"
    path.symlink_to(bundled()["mlp"])
    monkeypatch.setenv("ODDEVEN_MODEL", str(path))
    with serving() as running:
        assert running.url.startswith("http"), running.url
        assert b"my mlp" in running.ask("GET", "/v2/models/my%20mlp")[2]


def test_usage_errors_are_one_line(run, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        for arguments, code in (
            (("--port", port), 2), (("--host", "192.0.2.1"), 2), (("nothing",), 2), (("cnn", "cnn"), 2),
            (("--host", "a" * 70), 2), (("--keep", "/proc/nothing"), 6),
        ):  # fmt: skip
            done = run("serve", *arguments)
            assert done.returncode == code, done.stderr
            assert len(done.stderr.splitlines()) == 1
    done = run("serve", "--token", "")
    assert done.returncode == 2
