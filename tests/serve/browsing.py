"""Chromium on a page, watched: what it says on its console, and whom it asks."""

from __future__ import annotations

import functools
import threading
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

from playwright.sync_api import expect, sync_playwright

expect.set_options(timeout=30_000)  # for a busy machine
QUIET = ["--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update",
         "--disable-sync"]  # fmt: skip
FAKE_CAMERA = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
PHONE = {"viewport": {"width": 390, "height": 844}, "device_scale_factor": 2, "is_mobile": True, "has_touch": True}
# Strokes of the digits 1 and 4 on the drawing area, as parts of its side.
ONE = [[(0.5, 0.2), (0.5, 0.8)]]
FOUR = [[(0.35, 0.2), (0.3, 0.5), (0.65, 0.5)], [(0.62, 0.2), (0.6, 0.8)]]


def is_error(message):
    """Whether a line on the console is an error; LiteRT.js writes its log there too."""
    return message.type == "error" and not message.text.startswith(("INFO: ", "WARNING: "))


@contextmanager
def browsing(chromium, url, flags=(), refused=0, ready="[role=tab][aria-selected=true]", **context):
    """A page at `url`, from when `ready` matches an element of it: ours choose a tab once they have their models.
    Afterwards there must have been no request to another host, and no console error but that of so many requests that
    were `refused`."""
    said, asked = [], set()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=[*QUIET, *flags])
        try:
            page = browser.new_context(**context).new_page()
            page.on("console", lambda message: said.append(message.text) if is_error(message) else None)
            page.on("pageerror", lambda error: said.append(str(error)))
            page.on("request", lambda request: asked.add(urlsplit(request.url).netloc))
            page.goto(url)
            page.wait_for_selector(ready, state="attached")
            yield page
        finally:
            browser.close()
    assert len(said) == refused, said
    assert all("responded with a status of 400" in text for text in said), said
    assert asked - {""} == {urlsplit(url).netloc}, asked


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@contextmanager
def hosting(folder):
    """A static host of `folder`; its address."""
    with ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=folder)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


def draw(page, strokes):
    """Draw with the mouse."""
    box = page.locator("#canvas").bounding_box()
    for stroke in strokes:
        points = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in stroke]
        page.mouse.move(*points[0])
        page.mouse.down()
        for point in points[1:]:
            page.mouse.move(*point, steps=12)
        page.mouse.up()
