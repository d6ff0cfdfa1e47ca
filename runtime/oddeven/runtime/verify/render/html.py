"""The report as one HTML page that needs nothing else: no script, no font, no network."""

from __future__ import annotations

import base64
import io
import math
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence

from PIL import Image

from oddeven.runtime.arrays import Pixels
from oddeven.runtime.artifacts.reference import Reference
from oddeven.runtime.markup import COLOURS, Html, badge, fill, grid, join, listing, page, section
from oddeven.runtime.parity.check import PASS
from oddeven.runtime.parity.compare import Change
from oddeven.runtime.table import shown
from oddeven.runtime.verify.recommendation import by_model, recommend
from oddeven.runtime.verify.render.markdown import HEADER, facts, overall, summary
from oddeven.runtime.verify.report import FileReport, Report

MAX_PICTURES = 200
WIDTH, LEFT, RIGHT, TOP, BASE = 900, 58, 780, 12, 380
# Labels are 12 px high; a character of a sans-serif face is a little over half of that wide.
LINE, CHARACTER = 14.0, 6.6
Box = tuple[float, float, float, float]


def to_html(report: Report, references: Mapping[str, Reference]) -> str:
    """The page: verdicts, sizes, statistics, and every picture whose answer changed.

    Args:
        report: as `oddeven verify` makes it; where every file is broken, it holds none.
        references: by their `data_sha256`, of every file in the report; its pictures are shown.
    """
    verdict, models = overall(report), by_model(report.files)
    passed = sum(file.verdict == PASS for file in report.files)
    rows = [(*row[:-1], badge(row[-1])) for row in summary(report)]
    body = [
        section("Recommendation", listing("", (fill("<li>{}</li>", line) for line in recommend(report.files)))),
        section("Summary", grid("Ratio is to the bytes of the float32 file of the same kind", HEADER, rows, 3)),
        *([_failures(report)] if passed < len(report.files) or report.broken else []),
        *([_notes(report)] if any(file.notes for file in report.files) else []),
        *([section(f"Size and {_measured(report.files)}", _plot(models))] if models else []),
        section("Statistics", _statistics(models)),
        *(_model(name, files, references[files[0].data_sha256]) for name, files in models.items()),
        section("Policy and machine", fill("<dl>{}</dl>", join(
            fill("<dt>{}</dt><dd>{}</dd>", name, value) for name, value in facts(report)
        ))),
    ]  # fmt: skip
    count = f"{passed} of {len(report.files)} files pass ({', '.join(models)})."
    head = fill("Parity report {}", badge(verdict))
    return page(f"Parity report: {verdict}", head, count, body)


def _failures(report: Report) -> Html:
    """Why each file that does not pass does not, what to try, and where it goes wrong."""
    text = "<h3>{}</h3><p>It could not be checked. {}</p>"
    parts = [fill(text, broken.file, broken.reason) for broken in report.broken]
    for file in report.files:
        if file.verdict != PASS:
            text = "<h3>{} {}</h3><p>{}</p><p>{}</p>"
            parts.append(fill(text, f"{file.file} on {file.engine}", badge(file.verdict), file.reason, file.advice))
            if file.layers:
                rows = [(layer.layer, f"{layer.error:.2%}") for layer in file.layers]
                parts.append(grid(f"Worst layers of {file.file}", ("layer", "relative error"), rows))
    return section("Files that do not pass", *parts)


def _notes(report: Report) -> Html:
    """What is to be known of files although they pass."""
    text = "<li>{} on {}: {}</li>"
    return section("Notes", listing("", (
        fill(text, file.file, file.engine, note) for file in report.files for note in file.notes
    )))  # fmt: skip


def _statistics(models: Mapping[str, Sequence[FileReport]]) -> Html:
    header = ("model", "format", "engine", "McNemar p", "AUC reference", "AUC", "log loss reference", "log loss",
              "calibration error reference", "calibration error", "max Δp", "mean Δp", "lost", "won",
              "change at most")  # fmt: skip
    rows = []
    for name, file in ((name, file) for name, files in models.items() for file in files):
        p, pair = file.parity, (file.parity.reference, file.parity.file)
        kinds = ("auc", "log_loss", "calibration_error")
        pairs = [shown(getattr(scores, kind, None), ".5f") for kind in kinds for scores in pair]
        rows.append((name, file.format, file.engine, shown(p.mcnemar_p, ".3g"), *pairs, f"{p.max_shift:.2g}",
                     f"{p.mean_shift:.2g}", shown(p.right_to_wrong, "d"), shown(p.wrong_to_right, "d"),
                     f"{p.changed_high:.2%}"))  # fmt: skip
    caption = (
        "Lost, won: pictures that only the reference, only the file gets right. Δp: absolute change of probability. "
        "Change at most: upper limit of the share of predictions that change and count against agreement"
    )
    return grid(caption, header, rows, 3)


def _model(name: str, files: Sequence[FileReport], reference: Reference) -> Html:
    """What is seen picture by picture: the changed ones, and the slices."""
    header = ["slice", "count", "reference accuracy"]
    header += [f"{file.format} {what}" for file in files for what in ("drop pp", "agreement")]
    rows = []
    for group in zip(*(file.parity.slices for file in files), strict=True):
        pairs = (text for own in group for text in (shown(own.drop_pp, "+.2f"), f"{own.agreement:.2%}"))
        rows.append((group[0].name, f"{group[0].count:,}", shown(group[0].reference_accuracy, ".4f"), *pairs))
    return section(name, *_gallery(files, reference.images), grid(f"Slices of {name}", header, rows))


def _gallery(files: Sequence[FileReport], images: Pixels) -> Iterable[Html]:
    """Every changed picture once, the nearest to the threshold first, with what each file made of it."""
    seen: dict[int, list[tuple[str, Change]]] = {}
    for file in files:
        for change in file.parity.changes:
            seen.setdefault(change.position, []).append((file.format, change))
    yield fill("<h3>Pictures whose answer changed: {}</h3>", len(seen) or "none")
    if not seen:
        return
    changes = [change for group in seen.values() for _, change in group]
    # A report holds no threshold, but every change straddles it: one half, unless that is not between them all.
    low = max(min(change.reference, change.answer) for change in changes)
    high = min(max(change.reference, change.answer) for change in changes)
    threshold = min(max(0.5, low), high)
    order = sorted(seen, key=lambda position: abs(seen[position][0][1].reference - threshold))
    items = (_picture(images[position], files[0].labels, seen[position]) for position in order[:MAX_PICTURES])
    yield listing("gallery", items)
    if len(order) > MAX_PICTURES:
        yield fill("<p>{} more are not shown.</p>", len(order) - MAX_PICTURES)


def _picture(image: Pixels, labels: tuple[str, str], group: Sequence[tuple[str, Change]]) -> Html:
    """One card. The larger of two probabilities around the threshold is the one that answers label 1."""
    first = group[0][1]
    before = first.reference > first.answer
    lines = [("reference", first.reference, before), *((name, change.answer, not before) for name, change in group)]
    answers = (
        fill("<p>{} {} → {}{}</p>", name, f"{p:.4f}", labels[one], _rightness(one, first.label))
        for name, p, one in lines
    )
    truth = "not known" if first.label is None else labels[first.label]
    return fill(
        '<li><img src="data:image/png;base64,{0}" width="{1}" height="{2}" alt="Test picture {3}, labelled {4}">'
        "<div><p>true label <strong>{4}</strong>, picture {3}</p>{5}</div></li>",
        _png(image), image.shape[1], image.shape[0], first.position, truth, join(answers),
    )  # fmt: skip


def _rightness(answer: bool, label: int | None) -> str:
    return "" if label is None else ", right" if answer == label else ", wrong"


def _png(image: Pixels) -> str:
    """Base64 of a PNG of `image`, uint8 (H, W, 1) or (H, W, 3)."""
    written = io.BytesIO()
    Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image).save(written, "png", optimize=True)
    return base64.b64encode(written.getvalue()).decode("ascii")


def _measured(files: Sequence[FileReport]) -> str:
    return "accuracy" if all(file.parity.accuracy is not None for file in files) else "agreement"


def _plot(models: Mapping[str, Sequence[FileReport]]) -> Html:
    """Size against accuracy: both axes logarithmic, the latter in the error, so that 0.99 and 0.999 stay apart.

    Against agreement, where there are files that were asked about pictures without labels.
    """
    measured = _measured([file for own in models.values() for file in own])
    files = [(i % COLOURS, file) for i, own in enumerate(models.values()) for file in own]
    sizes = [float(file.size_bytes) for _, file in files]
    # A file without a single error is drawn at half an error, for a logarithm has no zero; no axis goes below 0.
    shares: list[float] = [getattr(file.parity, measured) for _, file in files]
    errors = [
        min(max(1.0 - share, 0.5 / file.parity.count), 0.99) for share, (_, file) in zip(shares, files, strict=True)
    ]
    columns, rows = _ticks(min(sizes), max(sizes)), _ticks(min(errors), max(errors))
    xs, ys = ([_place(v, columns, LEFT, RIGHT) for v in sizes], [_place(v, rows, TOP, BASE) for v in errors])
    places = list(zip(xs, ys, strict=True))
    taken = [(x - 5, y - 5, x + 5, y + 5) for x, y in places]
    grid = '<path d="M{} {}{}" stroke="var(--rule)"/><text x="{}" y="{}" text-anchor="{}">{}</text>'
    down = [(_place(v, columns, LEFT, RIGHT), f"{v / 1e3:,g} kB") for v in columns]
    across = [(_place(v, rows, TOP, BASE), f"{1 - v:.6g}") for v in rows]
    drawn = [fill(grid, x, TOP, f"V{BASE}", x, BASE + 18, "middle", text) for x, text in down]
    drawn += [fill(grid, LEFT, y, f"H{WIDTH}", LEFT - 6, y + 4, "end", text) for y, text in across]
    drawn += [
        _point(*files[i], f"{measured} {shares[i]:.4f}", *places[i], taken)
        for i in sorted(range(len(files)), key=ys.__getitem__)
    ]
    legend = (fill('<li><span class="m{}">●</span> {}</li>', i % COLOURS, model) for i, model in enumerate(models))
    return fill(
        '<figure><figcaption>{}The {} against the size of the file, both axes logarithmic (the {} in its error); '
        'a ring is a file that does not pass.</figcaption><div class="scroll" role="region" tabindex="0" '
        'aria-label="Plot"><svg viewBox="0 0 {} {}" role="img" aria-label="The {} against size, as in the '
        'summary">{}</svg></div></figure>', listing("legend", legend), measured, measured, WIDTH, BASE + 26, measured,
        join(drawn),
    )  # fmt: skip


def _place(value: float, ticks: Sequence[float], start: float, end: float) -> float:
    """Where `value` lies on a logarithmic axis whose first tick is drawn at `start` and the last at `end`."""
    return round(start + (end - start) * math.log(value / ticks[0]) / math.log(ticks[-1] / ticks[0]), 1)


def _ticks(low: float, high: float) -> list[float]:
    """Two or more round values, from one at or below `low` to one above `high`; both are above 0."""
    steps = (1, 2, 3, 5, 7) if high < 30 * low else (1, 3)
    powers = range(math.floor(math.log10(low)) - 1, math.floor(math.log10(high)) + 2)
    values = [step * 10.0**power for power in powers for step in steps]
    return values[bisect_right(values, low) - 1 : bisect_right(values, high) + 1]


def _point(colour: int, file: FileReport, score: str, x: float, y: float, taken: list[Box]) -> Html:
    """A mark and, in the nearest free place, its label; `taken` boxes stay free, and the label's is added to them."""
    passes = file.verdict == PASS
    label = file.format if passes else f"{file.format} {file.verdict}"
    width = CHARACTER * len(label)
    boxes = [
        (left, y + dy - LINE / 2, left + width, y + dy + LINE / 2)
        for dy in sorted((LINE * k for k in range(-30, 31)), key=abs) for left in (x + 9, x - 9 - width)
    ]  # fmt: skip
    inside = [box for box in boxes if box[0] >= LEFT and box[1] >= TOP and box[2] <= WIDTH and box[3] <= BASE]
    free = (a for a in inside if not any(a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3] for b in taken))
    box = next(free, boxes[0])
    taken.append(box)
    edge, anchor = (box[0], "start") if box[0] > x else (box[2], "end")
    return fill(
        '<g class="m{0}"><path d="M{1} {2}L{3} {4}" stroke="currentColor" opacity=".5"/><circle cx="{1}" cy="{2}" '
        'r="4.5" fill="{5}" stroke="currentColor" stroke-width="2"><title>{6}</title></circle>'
        '<text x="{3}" y="{4}" dy=".33em" text-anchor="{7}">{8}</text></g>',
        colour, x, y, f"{edge:.1f}", f"{(box[1] + box[3]) / 2:.1f}", "currentColor" if passes else "var(--bg)",
        f"{file.model} {file.format}: {file.size_bytes:,} bytes, {score}",
        anchor, label,
    )  # fmt: skip
