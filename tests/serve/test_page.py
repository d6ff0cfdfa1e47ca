"""The page in a real browser: drawn on, dropped on, held before a camera, by mouse, by keyboard and on a phone."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect
from serve.browsing import FAKE_CAMERA, FOUR, ONE, PHONE, browsing, draw
from serve.conftest import serving

pytestmark = pytest.mark.browser
STRIP = "#strip li"
TRANSFER = """bytes => {
    const transfer = new DataTransfer();
    transfer.items.add(new File([new Uint8Array(bytes)], "a.png"));
    return transfer;
}"""


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    return tmp_path_factory.mktemp("kept")


@pytest.fixture(scope="module")
def server(kept):
    with serving("cnn", "deep_cnn", "--keep", kept) as running:
        yield running


def expect_label(page, label):
    for card in page.locator(".label").all():
        expect(card).to_have_text(label)


@pytest.mark.parametrize(("strokes", "parity"), [(ONE, "odd"), (FOUR, "even")])
@pytest.mark.parametrize("context", [{}, PHONE, {"color_scheme": "dark"}], ids=["desktop", "phone", "dark"])
def test_a_drawn_digit_gets_its_parity_and_is_shown_as_the_model_sees_it(server, chromium, strokes, parity, context):
    with browsing(chromium, server.url, **context) as page:
        draw(page, strokes)
        page.wait_for_selector(STRIP)
        expect_label(page, parity)
        assert page.evaluate("document.querySelector('.seen').naturalWidth") == 28
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        page.click("#clear")
        draw(page, ONE)
        expect_label(page, "odd")


def test_predictions_come_while_drawing(server, chromium):
    with browsing(chromium, server.url) as page:
        box = page.locator("#canvas").bounding_box()
        page.mouse.move(box["x"] + 150, box["y"] + 60)
        page.mouse.down()
        page.mouse.move(box["x"] + 150, box["y"] + 250, steps=10)
        expect_label(page, "odd")  # the button is still down
        assert page.locator(STRIP).count() == 0
        page.mouse.up()
        page.wait_for_selector(STRIP)


def test_a_digit_can_be_drawn_and_kept_by_keyboard_alone(server, chromium, kept):
    with browsing(chromium, server.url) as page:
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.id") == "tab-draw"
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.id") == "canvas"
        for _ in range(8):
            page.keyboard.press("Shift+ArrowUp")
        assert page.locator(STRIP).count() == 0
        for _ in range(16):
            page.keyboard.press("ArrowDown")
        expect_label(page, "odd")
        before = len(list(kept.rglob("*.png")))
        page.keyboard.press("2")
        expect(page.locator("#kept")).to_contain_text("1 odd")
        assert len(list((kept / "odd").glob("*.png"))) == before + 1


def test_a_chosen_file_and_a_dropped_one_are_classified_and_kept(server, chromium, digit, kept):
    with browsing(chromium, server.url, refused=1) as page:
        page.click("#tab-file")
        page.set_input_files("#chooser", digit)
        expect_label(page, "odd")
        page.evaluate("document.querySelectorAll('.label').forEach(e => e.textContent = '')")
        content = list(digit.read_bytes())
        transfer = page.evaluate_handle(TRANSFER, content)
        page.dispatch_event("body", "drop", {"dataTransfer": transfer})
        expect_label(page, "odd")
        page.click("text=Keep as odd")
        expect(page.locator("#kept")).to_contain_text("odd")
        page.wait_for_timeout(300)
        assert digit.read_bytes() in [path.read_bytes() for path in (kept / "odd").iterdir()]
        page.click("text=Keep as even")
        expect(page.locator("#status")).to_contain_text("kept as odd already")


def test_what_is_no_image_is_said_on_the_page(server, chromium, tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("no image")
    with browsing(chromium, server.url, refused=2) as page:
        page.set_input_files("#chooser", path)
        expect(page.locator("#status")).to_contain_text("cannot be read")
        assert page.locator(STRIP).count() == 0


def test_this_devices_camera_is_classified_live(server, chromium):
    with browsing(chromium, server.url, FAKE_CAMERA, permissions=["camera"]) as page:
        page.click("#tab-camera")
        expect(page.locator("#rate")).to_contain_text("frames a second")
        expect(page.locator(STRIP).nth(2)).to_be_visible()
        assert re.search(
            r"capture \d+ ms, prepare [\d.]+ ms, infer [\d.]+ ms", page.locator(".reason").first.inner_text()
        )
        assert page.locator(".steady").first.inner_text().startswith("steady: ")
        page.click("text=Keep as even")
        expect(page.locator("#kept")).to_contain_text("1 even")


SLOW_CAMERA = """() => {
    const real = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
    window.asked = new Promise((asked) => {
        navigator.mediaDevices.getUserMedia = async (wanted) => {
            window.stream = await real(wanted);
            await new Promise((allow) => { window.allow = allow; asked(); });
            return window.stream;
        };
    });
}"""


def test_a_camera_that_is_allowed_too_late_is_switched_off(server, chromium):
    with browsing(chromium, server.url, FAKE_CAMERA, permissions=["camera"]) as page:
        page.evaluate(SLOW_CAMERA)
        page.click("#tab-camera")
        page.evaluate("window.asked")
        page.click("#tab-draw")
        page.evaluate("window.allow()")
        assert page.evaluate("window.stream.getTracks().map((track) => track.readyState)") == ["ended"]


def test_the_servers_camera_is_shown_with_its_predictions(chromium, video):
    path = video([0] * 3 + [2] * 3, each=10)
    with serving("cnn", "--camera", path) as server, browsing(chromium, server.url, refused=1) as page:
        expect_label(page, "odd")
        expect(page.locator("#status")).to_contain_text("has ended")
        assert page.evaluate("document.querySelector('#frame').naturalWidth") == 4 * 28
        assert not page.locator("#keep").is_visible()


def test_a_token_is_asked_for_and_then_remembered(chromium):
    with serving("mlp", "--token", "abc") as server, browsing(chromium, server.url) as page:
        assert page.url == server.url.partition("?")[0]
        draw(page, ONE)
        expect_label(page, "odd")


def test_everything_has_a_name_for_a_screen_reader(server, chromium):
    with browsing(chromium, server.url) as page:
        tree = page.locator("body").aria_snapshot()
        for name in ('tab "Draw" [selected]', 'img "Drawing area"', 'button "Clear"', 'button "Keep as odd"'):
            assert name in tree, tree
        assert page.locator("#cards").get_attribute("aria-live") == "polite"
