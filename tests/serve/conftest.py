"""A real server in a process of its own, and a real browser."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from urllib.parse import urlsplit

import pytest


@dataclass
class Server:
    """A running `oddeven serve`."""

    url: str
    process: subprocess.Popen

    @property
    def address(self):
        parts = urlsplit(self.url)
        return parts.hostname, parts.port

    def ask(self, method, path, body=None, **headers):
        """Status, headers and body of the response to one request on a connection of its own."""
        connection = HTTPConnection(*self.address, timeout=30)
        connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
        response = connection.getresponse()
        content = response.read()
        connection.close()
        return response.status, response.headers, content


@contextmanager
def serving(*arguments):
    """`oddeven serve` with `arguments` on a free port, until the body ends; it must then end well."""
    command = [sys.executable, "-m", "oddeven.runtime", "serve", "--port", "0", *map(str, arguments)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        yield Server(process.stdout.readline().strip() or process.stderr.read(), process)
    finally:
        process.send_signal(signal.SIGTERM)
        _, stderr = process.communicate(timeout=60)
    assert process.returncode == 0, stderr
    assert "Traceback" not in stderr


@pytest.fixture(scope="module")
def server():
    """The bundled cnn and mlp."""
    with serving("cnn", "mlp") as running:
        yield running


@pytest.fixture(scope="session")
def chromium():
    """The path of Debian's Chromium."""
    path = shutil.which("chromium")
    assert path, "These tests need a browser: apt-get install chromium"
    return path
