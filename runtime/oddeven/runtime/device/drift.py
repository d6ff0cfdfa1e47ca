"""Do the images still look like those that the model was validated on, and are the labels shared out as before?

Watched are the share of images that are as unfamiliar as the least familiar tenth, and half, of the validation images,
the share of each label, and that of images without a label. Each is tested at every image by Page's cumulative sum,
here as a product: the likelihood ratio between the recent share and the nearest usual one, since the image from which
on it is largest. The mean number of images until the first false alarm is at least `MEAN_IMAGES`, where images are
independent and shares stay within what is usual.

Sources: Page (1954), Continuous inspection schemes, Biometrika 41, 100-115. Shin, Ramdas and Rinaldo (2024),
E-detectors, New England Journal of Statistics in Data Science 2(2), 229-260: the bound, which holds although the recent
share is an estimate. Grünwald, de Heide and Koolen (2024), Safe testing, Journal of the Royal Statistical Society B
86(5), 1091-1128: the nearest usual share stands for all of them.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from oddeven.runtime.errors import DataError, ModelError, OutputError
from oddeven.runtime.files import sha256, write
from oddeven.runtime.parity.statistics import share_limits
from oddeven.runtime.prediction import Prediction
from oddeven.runtime.schema import from_json, to_json
from oddeven.runtime.spec import ModelSpec

MEAN_IMAGES = 100_000
FAMILIARITIES = (0.1, 0.5)
SHARES = len(FAMILIARITIES) + 3
THRESHOLD = float(MEAN_IMAGES * SHARES)  # of the evidence, so that the bound holds for all shares together
MEMORY = 100  # images: the recent share is their exponentially weighted mean
REFERENCE = 500  # images that say what is usual
CONFIDENCE = 0.9999  # of each limit of what is usual
ANY = (0.0, 1.0)
BLOCKS, FIRST_BLOCK = 40, 25  # of a history: the most that it has, and how many images are in each at first
SAVE_S = 60.0


@dataclass(frozen=True)
class Share:
    """The share of images that have something in common.

    Attributes:
        low, high: what is usual by validation, and after `REFERENCE` images also by these; `ANY` until one is known.
        recent: among the last images, 0 to 1; among all as long as it is not known what is usual.
        evidence: how many times more likely the last images are with the recent share than with the nearest usual one;
            from `THRESHOLD` on, where it stays until the recent share is usual again, the share has departed.
        history: images, and how many of them count, in blocks that grow so that there are never more than `BLOCKS`.
    """

    name: str
    low: float
    high: float
    recent: float
    evidence: float = 1.0
    history: tuple[tuple[int, int], ...] = ((0, 0),)

    def __post_init__(self) -> None:
        """Refuse what no share can have (ValueError)."""
        if not (0.0 <= self.low < self.high <= 1.0 and 0.0 <= self.recent <= 1.0 and self.evidence >= 0.0):
            raise ValueError(f"the share {self.name!r} is out of range.")
        if not self.history:
            raise ValueError(f"the share {self.name!r} has no history.")

    @property
    def departed(self) -> bool:
        """Whether it has left what is usual and has not come back."""
        return self.evidence >= THRESHOLD

    @property
    def totals(self) -> tuple[int, int]:
        """All images, and how many of them count."""
        return _totals(self.history)

    def after(self, hit: bool) -> Share:
        """The share after another image, which counts or not."""
        history, low, high = _longer(self.history, hit), self.low, self.high
        images, hits = _totals(history)
        recent, evidence = step(self.recent, self.evidence, hit, low, high, THRESHOLD)
        unknown = (low, high) == ANY
        if unknown:
            recent = hits / images
        if images == REFERENCE:
            here = _usual(hits)
            low, high = here if unknown else (min(low, here[0]), max(high, here[1]))
        return Share(self.name, low, high, recent, evidence, history)


@dataclass(frozen=True)
class Summary:
    """What is kept of all images; it does not grow with them.

    Attributes:
        model: its name, and a hash of its spec.
    """

    model: str
    shares: tuple[Share, ...]
    schema_version: int = 1


def step(recent: float, evidence: float, hit: bool, low: float, high: float, threshold: float) -> tuple[float, float]:
    """The next recent share and evidence, as in `Share`.

    The evidence is multiplied by what a bet of the recent share against the nearest usual one gains. With any usual
    share the expected gain is 1 at most.
    """
    share = min(max(recent, 1 / MEMORY), 1 - 1 / MEMORY)
    usual = min(max(share, low), high)
    recent += (hit - recent) / MEMORY
    if share == usual:
        return recent, 1.0
    if evidence < threshold:
        gain = share / usual if hit else (1 - share) / (1 - usual)
        evidence = min(max(evidence, 1.0) * gain, threshold)
    return recent, evidence


class DriftMonitor:
    """The running summary. Use it in a `with` statement, at whose end it is saved.

    A kill loses what came since it was last saved, at most `SAVE_S` seconds.

    Attributes:
        shares: as they are now.
    """

    def __init__(self, spec: ModelSpec, path: Path | None, every_s: float = 0.0) -> None:
        """Go on with the summary in `path`, or begin one where there is none or that of another model.

        Args:
            path: None to save none.
            every_s: seconds from one image that is counted to the next: frames that follow closely are alike.

        Raises:
            DataError: as `read_summary`.
        """
        self._labels, self._path, self._every_s = spec.labels, path, every_s
        self._model = f"{spec.name} {sha256(to_json(spec).encode())[:16]}"
        self._due, self._saved = 0.0, time.monotonic()
        if path and path.exists() and (summary := read_summary(path)).model == self._model:
            self.shares = summary.shares
            return
        familiar = [Share(f"familiarity under {f:g}", *_usual(round(f * REFERENCE)), f) for f in FAMILIARITIES]
        self.shares = (*familiar, *(Share(name, *ANY, 0.0) for name in (*spec.labels, "no label")))

    def add(self, prediction: Prediction) -> list[str]:
        """Count an image, if it is time for one; gives a sentence for each share that departs with it or comes back.

        Raises:
            OutputError: the summary cannot be saved.
        """
        now = time.monotonic()
        if now < self._due:
            return []
        self._due, before = now + self._every_s, self.shares
        familiarity, label = prediction.familiarity, prediction.label
        hits = [familiarity is not None and familiarity < f for f in FAMILIARITIES]
        hits += [*(label == name for name in self._labels), label not in self._labels]
        first = len(FAMILIARITIES) if familiarity is None else 0
        later = [share.after(hit) for share, hit in zip(before[first:], hits[first:], strict=True)]
        self.shares = (*before[:first], *later)
        if now - self._saved >= SAVE_S:
            self.save()
        changed = [new for old, new in zip(before, self.shares, strict=True) if old.departed != new.departed]
        return [sentence(share) for share in changed]

    def save(self) -> None:
        """Write the summary to its file, whole or not at all.

        Raises:
            OutputError: it cannot be written.
        """
        self._saved = time.monotonic()
        if self._path:
            write(self._path, to_json(Summary(self._model, self.shares)))

    def __enter__(self) -> DriftMonitor:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            self.save()
        except OutputError:
            if kind is None or not issubclass(kind, Exception):  # or it would hide the error that ended the body
                raise


def summary_path(journal: Path) -> Path:
    """The file of the summary of `journal`, beside it."""
    return Path(f"{journal}.drift")


def read_summary(path: Path) -> Summary:
    """The summary in the file `path`.

    Raises:
        DataError: it is not there, or holds something else.
    """
    try:
        summary = from_json(Summary, path.read_bytes(), str(path))
    except OSError as error:
        raise DataError(f"Cannot read {path} ({error.strerror}): oddeven watch and camera write it.") from error
    except ModelError as error:
        raise DataError(f"{error} Remove the file, and the summary begins anew.") from error
    if len(summary.shares) != SHARES:
        raise DataError(f"{path} holds {len(summary.shares)} shares; expected {SHARES}. Remove the file.")
    return summary


def sentence(share: Share) -> str:
    """What has become of a share that has departed or come back."""
    state = "drift" if share.departed else "no drift any more"
    usual = f"usual is {share.low:.0%} to {share.high:.0%}"
    return f"{state}: {share.name} is {share.recent:.0%} of the last images; {usual}."


def _usual(hits: int) -> tuple[float, float]:
    """The limits of a share of which `hits` of `REFERENCE` were seen."""
    return share_limits(hits, REFERENCE, CONFIDENCE)


def _totals(history: tuple[tuple[int, int], ...]) -> tuple[int, int]:
    return sum(images for images, _ in history), sum(hits for _, hits in history)


def _longer(history: tuple[tuple[int, int], ...], hit: bool) -> tuple[tuple[int, int], ...]:
    """`history` with another image; where it would have too many blocks, with two joined to one each."""
    size = max(FIRST_BLOCK, history[0][0])
    *whole, (images, hits) = history
    if images < size:
        return (*whole, (images + 1, hits + hit))
    if len(history) == BLOCKS:
        history = tuple((a + c, b + d) for (a, b), (c, d) in zip(history[::2], history[1::2], strict=True))
    return (*history, (1, int(hit)))
