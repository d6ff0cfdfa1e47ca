"""`oddeven web`: the model files in a browser, compared with Python's predictions for the same 500 image files."""

from __future__ import annotations

import base64
import io
import shutil

import numpy as np
import pytest
from conftest import SHIPPED
from PIL import Image
from serve.conftest import chromium  # noqa: F401

from oddeven.runtime import Classifier
from oddeven.runtime.artifacts.resolve import locate

MODELS = ("mlp", "cnn", "deep_cnn")
STEP = 1 / 256  # of an 8-bit output
CLASSIFY = """async (files) => {
    const { open } = await import("./backend.js");
    const backend = await open(), predictions = [];
    for (const file of files) {
        const bytes = Uint8Array.from(atob(file), (c) => c.charCodeAt(0));
        predictions.push(await backend.predict(new Blob([bytes])));
    }
    return predictions;
}"""


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The page that `oddeven web` writes for the bundled models, one under an odd name; npm fetches LiteRT.js."""
    from conftest import oddeven

    out = tmp_path_factory.mktemp("site") / "page"
    odd = shutil.copy(locate(MODELS[0]), out.parent / "a:b #1 50%2F?.int8.tflite")
    done = oddeven("web", odd, *MODELS[1:], "--out", out)
    assert done.returncode == 0, done.stderr
    return out


def photograph(digit, random, coloured):
    """A test digit as a photograph of it, drawn on unevenly lit, noisy paper."""
    side = int(random.integers(40, 300))
    ink = np.asarray(Image.fromarray(digit).resize((side, side), Image.Resampling.BICUBIC), np.float64)
    y, x = np.mgrid[0 : 1 : 2j * side, 0 : 1 : 2.5j * side]
    page = 200 + random.uniform(-40, 40) * x + random.uniform(-40, 40) * y + random.normal(0, 3, x.shape)
    page[side // 2 : side // 2 + side, side // 2 : side // 2 + side] -= 0.55 * ink
    tones = [page * part for part in ((1, 0.97, 0.9) if coloured else (1,))]
    return Image.fromarray(np.stack(tones, -1).clip(0, 255).astype(np.uint8).squeeze())


def image_files(digits):
    """500 image files by kind: digits that are ready for the model, and photographs."""
    random = np.random.default_rng(0)

    def file(image, form, **options):
        image.save(buffer := io.BytesIO(), form, **options)
        return buffer.getvalue()

    digits = iter(digits)
    kinds = (("PNG", False, 100), ("PNG", True, 50), ("JPEG", False, 50), ("JPEG", True, 50))
    files = [("ready", file(Image.fromarray(digit), "PNG")) for digit, _ in zip(digits, range(250), strict=False)]
    for form, coloured, count in kinds:
        options = {"quality": 90} if form == "JPEG" else {}
        files += [(form, file(photograph(digit, random, coloured), form, **options))
                  for digit, _ in zip(digits, range(count), strict=False)]  # fmt: skip
    return files


@pytest.mark.browser
def test_the_browser_predicts_what_python_predicts_for_500_images(site, chromium, raw):  # noqa: F811
    from serve.browsing import browsing, hosting

    files = image_files(raw["x_test"])
    assert len(files) == 500
    with hosting(site) as url, browsing(chromium, url) as page:
        page.set_default_timeout(300_000)
        got = page.evaluate(CLASSIFY, [base64.b64encode(content).decode() for _, content in files])
    steps, pixels = {}, {}
    for number, name in enumerate(MODELS):
        with Classifier.load(name) as classifier:
            for (kind, content), predictions in zip(files, got, strict=True):
                ours, theirs = classifier.predict(content), predictions[number]
                assert theirs["label"] == ours.label
                step = abs(theirs["scores"]["odd"] - ours.scores["odd"]) / STEP
                shown = Image.open(io.BytesIO(base64.b64decode(theirs["input"].partition(",")[2]))).convert("L")
                off = np.abs(np.asarray(shown, int) - classifier.prepare(content)[..., 0]).max()
                steps.setdefault(kind, []).append(step)
                pixels.setdefault(kind, []).append(off)
    assert max(pixels["ready"]) == 0
    assert max(steps["ready"]) <= 1
    for kind in ("PNG", "JPEG"):  # float32 sums in another order move an edge pixel, and with it the crop, now and then
        assert np.mean(np.array(pixels[kind]) > 0) < 0.3
        assert max(pixels[kind]) < 32
        assert np.mean(np.array(steps[kind]) > 4) < 0.01
        assert max(steps[kind]) <= 16  # of 256: a doubtful image whose crop has moved


@pytest.mark.browser
def test_the_page_asks_no_other_host_and_a_drawing_gets_its_parity(site, chromium):  # noqa: F811
    from playwright.sync_api import expect
    from serve.browsing import ONE, browsing, draw, hosting

    with hosting(site) as url, browsing(chromium, url) as page:
        draw(page, ONE)
        page.wait_for_selector("#strip li")
        for label in page.locator(".label").all():
            expect(label).to_have_text("odd")
        assert not page.locator("#keep").is_visible()


def test_what_cannot_run_in_a_browser_is_one_sentence(run, tmp_path):
    (tmp_path / "empty").mkdir()
    for arguments, code in (
        (("nothing",), 2),
        ((SHIPPED / "cnn.keras",), 2),
        (("cnn", "cnn"), 2),
        (("cnn", "--node-modules", tmp_path / "empty"), 3),
    ):
        done = run("web", *arguments, "--out", tmp_path / "page")
        assert (done.returncode, len(done.stderr.splitlines())) == (code, 1), done.stderr
    assert not list((tmp_path / "page").iterdir())
