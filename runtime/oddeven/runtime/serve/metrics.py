"""What the server counts, for Prometheus."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache

from prometheus_client import CollectorRegistry, Counter, Histogram, Info
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from oddeven.runtime.device.host_info import host_info

SECONDS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
STAGES = ("read", "wait", "prepare", "infer", "total")


class Metrics:
    """The counters of one server.

    Attributes:
        registry: what `/metrics` shows.
        responses: how many there were.
    """

    def __init__(self) -> None:
        self.responses = 0
        self.registry = CollectorRegistry()
        requests = Counter("oddeven_requests", "Responses by status.", ["status"], registry=self.registry)
        labels = Counter("oddeven_predictions", "Predictions by label.", ["model", "label"], registry=self.registry)
        self._requests, self._labels = cache(requests.labels), cache(labels.labels)  # which look a child up more slowly
        self._errors = Counter("oddeven_errors", "Refused requests by error.", ["kind"], registry=self.registry)
        stages = Histogram(
            "oddeven_stage_seconds", "Time of each stage of a request.", ["stage"], registry=self.registry,
            buckets=SECONDS,
        )  # fmt: skip
        self._stages = {stage: stages.labels(stage) for stage in STAGES}
        self._models = Info("oddeven_model", "The served models.", ["model"], registry=self.registry)
        self.registry.register(_Host())

    def model(self, name: str, facts: Mapping[str, str]) -> None:
        """Say what the model `name` is."""
        self._models.labels(name).info(dict(facts))

    def answered(self, status: int, seconds: float) -> None:
        """Count a response, and how long it took from the request's first byte to the response's last."""
        self.responses += 1
        self._requests(status).inc()
        self._stages["total"].observe(seconds)

    def error(self, kind: str) -> None:
        """Count a refused request."""
        self._errors.labels(kind).inc()

    def predicted(self, model: str, labels: list[str]) -> None:
        """Count predictions of `model`."""
        for label in set(labels):
            self._labels(model, label).inc(labels.count(label))

    def observe(self, stage: str, seconds: float) -> None:
        """Note how long one of `STAGES` took."""
        self._stages[stage].observe(seconds)


class _Host(Collector):
    """The CPU's temperature and throttling, read when they are asked for; absent where the system tells neither."""

    def collect(self) -> Iterator[Metric]:
        """The values of now."""
        now = host_info()
        if now.temperature_c is not None:
            yield GaugeMetricFamily("oddeven_cpu_temperature_celsius", "Of the CPU.", now.temperature_c)
        if now.throttled is not None:
            flags = float(int(now.throttled, 16))
            yield GaugeMetricFamily("oddeven_cpu_throttled_flags", "Of a Raspberry Pi; 0 is well.", flags)
