"""What people read: the recommendation, the Markdown summary, and the HTML page with the changed pictures."""

from __future__ import annotations

import base64
import io
import re
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise

import numpy as np
import pytest
from PIL import Image

from oddeven.runtime.artifacts.reference import Reference
from oddeven.runtime.parity.compare import compare
from oddeven.runtime.parity.policy import Policy
from oddeven.runtime.verify.recommendation import front, recommend
from oddeven.runtime.verify.render.html import to_html
from oddeven.runtime.verify.render.markdown import to_markdown
from oddeven.runtime.verify.report import FileReport, LayerError, Report

COUNT = 10_000


@pytest.fixture(scope="session")
def reference(raw):
    """All test pictures, odd or even, and a model that is sure and right of every one."""
    labels = (raw["y_test"] % 2).astype(np.uint8)
    sure = np.where(labels == 1, 0.9, 0.1).astype(np.float32)
    return Reference(raw["x_test"][..., None], labels, raw["y_test"].astype(str), sure, "0" * 64)


@pytest.fixture(scope="session")
def reported(reference):
    """Makes the report of a file that gets the pictures at `flips` wrong; the reference is less sure of later ones."""

    def make(flips=(), model="cnn", format="tflite-int8", latency_us=10.0, size_bytes=250_000, **more):
        suffix, precision = format.split("-")
        before = shaded(reference)
        answers = before.probabilities.copy()
        answers[list(flips)] = 1 - answers[list(flips)]
        parity = compare(before.probabilities, answers, before.labels, before.slices, 0.5, precision, Policy())
        given = {
            "file": f"{model}.{precision}.{suffix}",
            "labels": ("even", "odd"),
            "engine": "litert",
            "data_sha256": "0",
            "answers": packed(answers > 0.5),
            **more,
        }
        return FileReport(
            model=model, format=format, precision=precision, size_bytes=size_bytes, latency_us=latency_us,
            parity=parity, **given,
        )  # fmt: skip

    return make


def packed(predictions):
    return base64.b64encode(np.packbits(predictions).tobytes()).decode()


def shaded(reference):
    """The same answers, nearer to one half the later the picture, so that the order by margin is the reverse one."""
    margin = np.linspace(0.4, 0.1, COUNT, dtype=np.float32)
    return replace(reference, probabilities=np.where(reference.labels == 1, 0.5 + margin, 0.5 - margin))


def report(*files):
    versions = {"numpy": "2.4.6", "onnxruntime": "1.32.0"}
    return Report(Policy(), "Xeon, 2 cores", versions, seconds=12.34, peak_memory_mb=345.6, files=files)


class Page(HTMLParser):
    """Reads a page, refusing an end tag that closes nothing open; keeps elements, their attributes and all text."""

    VOID = ("meta", "img", "br", "link", "input", "hr")

    def __init__(self, text):
        super().__init__()
        self.open, self.elements, self.words = [], [], []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" not in self.open:
            self.words.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())

    def all(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]


def pixels(image):
    """The array in an `img` element's own data."""
    kind, data = image["src"].split(",")
    assert kind == "data:image/png;base64"
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(data, validate=True))))


def position(image):
    return int(re.search(r"image (\d+)", image["alt"])[1])


def test_the_fastest_file_that_passes_is_recommended(reported):
    files = (
        reported(format="tflite-float32", latency_us=40.0),
        reported(format="onnx-float32", latency_us=50.0),
        reported(format="tflite-int8", latency_us=16.0),
        reported(range(200), format="tflite-dynamic", latency_us=2.0),
    )
    assert recommend(files) == [
        "cnn: take cnn.int8.tflite, at 16.0 us the fastest file that passes, "
        "2.50 times as fast as cnn.float32.tflite, the fastest float32 file."
    ]


def test_int8_slower_than_float32_of_its_own_kind_is_said(reported):
    files = (
        reported(format="tflite-float32", latency_us=40.0),
        reported(format="tflite-int8", latency_us=45.0),
        reported(format="onnx-float32", latency_us=50.0),
        reported(format="onnx-int8", latency_us=49.0),
    )
    assert recommend(files) == [
        "cnn: take cnn.float32.tflite, at 40.0 us the fastest file that passes (no quantized file that passes is "
        "faster); cnn.int8.tflite is slower than cnn.float32.tflite here (45.0 us against 40.0 us)."
    ]


def test_where_no_file_passes_none_is_recommended(reported):
    files = (reported(range(200)), reported(range(300), format="onnx-int8"), reported(model="mlp"))
    assert recommend(files) == [
        "cnn: no file passes (of 2), so none can be recommended.",
        "mlp: take mlp.int8.tflite, at 10.0 us the fastest file that passes.",
    ]


def test_markdown_holds_the_table_the_failures_and_the_terms(reported):
    lost = reported(
        range(200), format="onnx-int8", latency_us=30.0, size_bytes=300_000, advice="Use more | calibration pictures."
    )
    text = to_markdown(report(
        reported(format="tflite-float32", size_bytes=1_000_000, latency_us=40.0),
        reported([7, 8, 9], size_bytes=260_000), lost,
    ))  # fmt: skip
    rows = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in text.splitlines() if line[:1] == "|"]
    assert rows[0] == ["model", "format", "engine", "bytes", "ratio", "accuracy", "drop pp (interval)", "agreement",
                       "latency us", "verdict"]  # fmt: skip
    assert rows[2][:6] == ["cnn", "tflite-float32", "litert", "1,000,000", "1.00", "1.0000"]
    # 3 lost, 0 won of 10,000: Clopper and Pearson's limits are 0.818 to 7.75 and 0 to 3.00 of them, so the drop's are
    # 3 - sqrt(2.18**2 + 3.00**2) = -0.71 and 7.75.
    assert rows[3] == ["cnn", "tflite-int8", "litert", "260,000", "0.26", "0.9997", "+0.03 (-0.01 to +0.08)",
                       "99.97%", "10.0", "PASS"]  # fmt: skip
    # There is no .onnx float32 file to hold the .onnx against.
    assert rows[4][4] == "-"
    assert rows[4][-1] == "FAIL"
    assert text.startswith("# Parity report: FAIL\n")
    assert f"- cnn.int8.onnx on litert: FAIL. {lost.reason} Use more \\| calibration pictures.\n" in text
    assert text.count(": FAIL. ") == 1
    assert "- cnn: take cnn.int8.tflite, at 10.0 us" in text
    for part in ("drop at most 0.10 pp", "agreement at least 99.80%", "float16 files may change a prediction",
                 "Xeon, 2 cores", "numpy 2.4.6, onnxruntime 1.32.0", "12.3 s", "346 MB"):  # fmt: skip
        assert part in text


def test_markdown_of_files_that_all_pass_speaks_of_no_failure(reported):
    text = to_markdown(report(reported()))
    assert text.startswith("# Parity report: PASS\n")
    assert "do not pass" not in text


def test_a_pipe_in_a_name_does_not_break_the_table(reported):
    table = [line for line in to_markdown(report(reported(model="a|b"))).splitlines() if line.startswith("|")]
    assert len({len(re.findall(r"(?<!\\)\|", line)) for line in table}) == 1
    assert r"a\|b" in table[2]


def test_the_page_is_balanced_and_needs_nothing_else(reported, reference):
    text = to_html(report(reported([5]), reported(range(200), model="mlp")), {"0": reference})
    page = Page(text)
    assert "http" not in text
    assert "<script" not in text
    assert "@import" not in text
    assert "url(" not in text
    assert not page.all("link")
    assert all(image["src"].startswith("data:") for image in page.all("img"))
    assert "@media screen and (prefers-color-scheme: dark)" in text
    assert len(page.all("svg")) == 1
    assert all(cell.get("scope") in ("row", "col") for cell in page.all("th"))


def test_the_page_says_verdict_numbers_layers_and_advice(reported, reference):
    failed = reported(
        range(200), format="onnx-int8", advice="Try dynamic.", layers=(LayerError("conv_7", 0.25), LayerError("d", 0.1))
    )
    page = Page(to_html(report(reported([2, 4]), failed), {"0": reference}))
    # 2 lost, 0 won of 10,000: 0.355 to 6.30 and 0 to 3.00, so 2 - sqrt(1.645**2 + 3.00**2) = -1.42 and 6.30.
    for part in (
        "Parity report FAIL", "1 of 2 files pass (cnn).", failed.parity.reason, "Try dynamic.",
        "conv_7 25.00%", "cnn: take cnn.int8.tflite", "Machine Xeon, 2 cores", "12.3 s", "346 MB",
        "cnn tflite-int8 litert 250,000 - 0.9998 +0.02 (-0.01 to +0.06) 99.98% 10.0 PASS",
        "cnn tflite-int8 litert 0.5 1.00000",  # McNemar of 2 against 0: 2 / 2**2; the reference's AUC
        # Pictures 2 and 4 are a 1 and a 4, so the slice of the 0s loses nothing.
        f"0 980 1.0000 +0.00 100.00% {failed.parity.slices[0].drop_pp:+.2f}",
    ):  # fmt: skip
        assert part in page.text, part
    assert {"badge PASS", "badge FAIL"} <= {span.get("class") for span in page.all("span")}


def test_each_file_is_a_point_in_the_plot_with_a_label_of_its_own_place(reported, reference):
    formats = [f"{kind}-{precision}" for kind in ("tflite", "onnx") for precision in ("float32", "float16", "int8")]
    files = [reported([1], "cnn", name, size_bytes=250_000 + i) for i, name in enumerate(formats)]
    page = Page(to_html(report(*files), {"0": reference}))
    assert len(page.all("circle")) == len(files)
    labels = [(float(text["x"]), float(text["y"])) for text in page.all("text") if "dy" in text]
    assert len(labels) == len(files)
    # All points coincide, so each line of labels holds two: one on either side.
    assert len(set(labels)) == len(files)
    heights = sorted(y for _, y in labels)
    assert all(b == a or b - a >= 12 for a, b in pairwise(heights))


def test_the_front_is_marked_listed_and_advised(reported, reference):
    files = [
        reported([1], size_bytes=size, latency_us=us, file=name)
        for name, size, us in (("small", 100, 9.0), ("fast", 200, 3.0), ("beaten", 200, 4.0), ("equal", 100, 9.0))
    ]
    exact = reported(size_bytes=300, latency_us=8.0, file="exact")
    broken = reported(range(200), size_bytes=1, latency_us=1.0, file="broken")
    assert [file.file for file in front([*files, exact, broken])] == ["small", "equal", "fast", "exact"]
    page = Page(to_html(report(*files, exact, broken), {"0": reference}))
    assert len([text for text in page.all("text") if text.get("font-weight")]) == 4
    for part in (
        "fast 200 3.0 0.9999 0.9994 to 1.0000",
        "Take small where bytes count, fast where time on such a machine counts, exact for fewest errors.",
    ):
        assert part in page.text, part


def test_what_is_data_is_escaped(reported, reference):
    evil = reported(
        range(200), model='<i>"m"', labels=("<b>", "o&o"), file="a\"b'<u>.tflite", advice="<script>x</script>",
        layers=(LayerError("<s>", 0.5),),
    )  # fmt: skip
    text = to_html(report(evil), {"0": reference})
    page = Page(text)
    assert not {"b", "i", "u", "s", "script"} & {tag for tag, _ in page.elements}
    for part in ("<b>", "o&o", "a\"b'<u>.tflite", "<script>x</script>", "<s>", '<i>"m"'):
        assert part in page.text
    assert {image["alt"].split("labelled ")[1] for image in page.all("img")} == {"<b>", "o&o"}
    assert 'Slices of <i>"m"' in [box["aria-label"] for box in page.all("div") if "aria-label" in box]


def test_every_changed_picture_is_there_once_with_its_own_pixels(reported, reference):
    files = (
        reported([11, 40, 9000]),
        reported([40, 77], format="onnx-int8"),
        reported([40], model="mlp"),
        reported(format="tflite-dynamic", model="mlp"),
    )
    page = Page(to_html(report(*files), {"0": reference}))
    # Later pictures are nearer to the threshold; then comes the other model's.
    assert [position(image) for image in page.all("img")] == [9000, 77, 40, 11, 40]
    for image in page.all("img"):
        np.testing.assert_array_equal(pixels(image), reference.images[position(image), :, :, 0])
        assert image["alt"].endswith("labelled odd" if reference.labels[position(image)] else "labelled even")
    # Picture 40 is a 1: it was odd and right, and is even and wrong in both files.
    change = next(change for change in files[0].parity.changes if change.position == 40)
    assert change.label == 1
    assert (
        f"true label odd , image 40 reference {change.reference:.4f} → odd, right "
        f"tflite-int8 {change.answer:.4f} → even, wrong onnx-int8 {change.answer:.4f} → even, wrong" in page.text
    )


def test_a_changed_picture_is_shown_with_the_labels_that_each_threshold_gives(reported, reference):
    p, answers = reference.probabilities.copy(), reference.probabilities.copy()
    p[5], answers[5] = 0.6, 0.65
    parity = compare(p, answers, reference.labels, reference.slices, 0.7, "int8", Policy(), reference_threshold=0.5)
    file = replace(reported(), parity=parity, answers=packed(answers > 0.7))
    page = Page(to_html(report(file), {"0": reference}))
    assert "image 5 reference 0.6000 → odd" in page.text
    assert "tflite-int8 0.6500 → even" in page.text


def test_colour_pictures_are_shown_in_colour(reported, reference):
    colour = replace(reference, images=np.stack([reference.images[..., 0]] * 3, axis=-1))
    colour.images[5, ..., 0] //= 2
    page = Page(to_html(report(reported([5])), {"0": colour}))
    np.testing.assert_array_equal(pixels(page.all("img")[0]), colour.images[5])


def test_a_report_on_unlabelled_pictures_leaves_out_what_rests_on_labels(reference):
    answers = reference.probabilities.copy()
    answers[[3, 8]] = 1 - answers[[3, 8]]
    folders = np.where(np.arange(COUNT) < 100, "kitchen", "unsorted")
    parity = compare(reference.probabilities, answers, None, folders, 0.5, "int8", Policy())
    file = FileReport(
        "cnn", ("even", "odd"), "cnn.int8.tflite", "tflite-int8", "int8", "litert", 9, 1.0, "0", packed(answers > 0.5),
        parity,
    )  # fmt: skip
    unlabelled = replace(reference, labels=None)
    page = Page(to_html(report(file), {"0": unlabelled}))
    # The upper limit of 2 in 10,000 is 0.0629%.
    assert "cnn tflite-int8 litert 9 - - - 99.98% 1.0 PASS" in page.text
    assert "cnn tflite-int8 litert - - - - - - - 0.8 0.00016 - - 0.06%" in page.text
    assert "kitchen 100 - - 98.00%" in page.text
    assert "Size and agreement" in page.text
    assert "true label not known , image 3 reference 0.1000 → even tflite-int8 0.9000 → odd" in page.text
    assert "right" not in page.text.split("Images whose prediction changed")[1].split("Slices")[0]
    row = next(line for line in to_markdown(report(file)).splitlines() if "tflite-int8" in line)
    assert [cell.strip() for cell in row.split("|")[4:9]] == ["9", "-", "-", "-", "99.98%"]
    assert not re.search(r"\bnan\b|None\b", page.text)


def test_more_than_200_changed_pictures_are_capped_and_counted(reported, reference):
    page = Page(to_html(report(reported(range(0, 426, 2)), reported([9])), {"0": reference}))
    shown = [position(image) for image in page.all("img")]
    # 213 even positions and 9: the last 200 are the nearest to the threshold.
    assert shown == sorted([*range(0, 426, 2), 9], reverse=True)[:200]
    assert "Images whose prediction changed: 214" in page.text
    assert " 14 more are not shown." in page.text


def test_a_report_without_changes_shows_no_picture(reported, reference):
    page = Page(to_html(report(reported()), {"0": reference}))
    assert not page.all("img")
    assert "Images whose prediction changed: none" in page.text
    assert "do not pass" not in page.text
