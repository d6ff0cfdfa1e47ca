"""1,000 requests that are not as they should be, each followed by a good one on a connection of its own."""

from __future__ import annotations

import json
import re
import socket
from contextlib import suppress

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from serve.test_inference_protocol import GOOD

INFER, PREDICT = b"/v2/models/cnn/infer", b"/predict"
HUGE = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\xff\xff\xff\xff\xff\xff\xff\xff\x08\0\0\0\0"


def infer(tensor):
    return json.dumps({"inputs": [tensor]}).encode()


TENSOR = infer(GOOD)
BODIES = st.one_of(
    st.binary(max_size=2000),
    st.integers(0, len(TENSOR) - 1).map(lambda size: TENSOR[:size]),
    st.lists(st.integers(-1, 2**40), max_size=5).map(lambda shape: infer({**GOOD, "shape": shape})),
    st.binary(max_size=200).map(lambda tail: HUGE + tail),
)  # fmt: skip
# What the header says of the body's length, and how much of the body is sent.
LENGTHS = st.one_of(st.none(), st.sampled_from([b"-1", b"x", b"9" * 30, b"1e3", b""]), st.integers(0, 5000))


def exchange(address, content, leaves):
    """All that the server says to `content`; the client may leave before it has sent what it announced."""
    said = b""
    with socket.create_connection(address, timeout=30) as sock, suppress(ConnectionError):
        sock.sendall(content)
        if leaves:
            sock.shutdown(socket.SHUT_WR)
        while part := sock.recv(65536):
            said += part
    return said


@settings(
    max_examples=1000, deadline=None, derandomize=True, database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)  # fmt: skip
@given(path=st.sampled_from([INFER, PREDICT]), body=BODIES, length=LENGTHS, extra=st.binary(max_size=100))
@example(path=PREDICT, body=HUGE, length=None, extra=b"")
@example(path=INFER, body=TENSOR, length=len(TENSOR) + 1, extra=b"")
def test_a_malformed_request_disturbs_no_other(server, digit, path, body, length, extra):
    told = length if isinstance(length, bytes) else b"%d" % (len(body) if length is None else length)
    header = extra.replace(b"\r", b"").replace(b"\n", b"")
    leaves = isinstance(length, int) and length > len(body)
    head = b"POST %s HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\nx-noise: %s\r\ncontent-length: %s\r\n\r\n"
    statuses = re.findall(rb"HTTP/1\.1 (\d+)", exchange(server.address, head % (path, header, told) + body, leaves))
    assert leaves or statuses
    assert all(400 <= int(status) < 500 for status in statuses), statuses
    status, _, content = server.ask("POST", "/predict", digit.read_bytes())
    assert (status, json.loads(content)["label"]) == (200, "odd")
