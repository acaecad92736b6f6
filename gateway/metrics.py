"""What Prometheus is told: requests, the tail, and how far projections are behind the log."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from gateway.parts import Parts

#: From a row read out of memory to a read that waited for its position.
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Metrics:
    """The counters of one application; nothing is global, so that two can live in one process."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "gateway_requests",
            "Requests answered",
            ("method", "route", "status"),
            registry=self.registry,
        )
        self.seconds = Histogram(
            "gateway_request_seconds",
            "Seconds until the answer was complete",
            ("method", "route"),
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.events = Counter(
            "gateway_events", "Events posted", ("outcome",), registry=self.registry
        )
        # Looking a label up costs more than counting; routes and statuses are few.
        self._answered: dict[tuple[str, str, int], tuple[Any, Any]] = {}
        self.refused_by_rate = Counter(
            "gateway_rate_limited", "Requests refused by the rate limit", registry=self.registry
        )

    def observe(self, method: str, route: str, status: int, seconds: float) -> None:
        """One request was answered."""
        answered = self._answered.get((method, route, status))
        if answered is None:
            answered = self._answered[method, route, status] = (
                self.requests.labels(method, route, str(status)),
                self.seconds.labels(method, route),
            )
        count, duration = answered
        count.inc()
        duration.observe(seconds)

    def watch(self, parts: Parts) -> Callable[[], None]:
        """Measure these parts whenever asked, until what this returns is called."""
        collector = _PartsCollector(parts)
        self.registry.register(collector)
        return lambda: self.registry.unregister(collector)


class _PartsCollector(Collector):
    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def describe(self) -> Iterable[Metric]:
        return ()

    def collect(self) -> Iterator[Metric]:
        hub = self._parts.hub
        yield GaugeMetricFamily("gateway_tail_clients", "Clients on the tail", value=hub.clients)
        yield CounterMetricFamily(
            "gateway_tail_deliveries", "Events handed to tail clients", value=hub.delivered
        )
        yield CounterMetricFamily(
            "gateway_tail_slow", "Tail clients closed for being slow", value=hub.ended_slow
        )
        yield GaugeMetricFamily(
            "gateway_tail_running", "1 while the feed reads the log", value=int(hub.down is None)
        )
        yield self._lag()

    def _lag(self) -> Metric:
        family = GaugeMetricFamily(
            "gateway_projection_lag_events",
            "Events of the log that a projection has not folded yet",
            labels=("projection",),
        )
        for name, lag in lags(self._parts).items():
            family.add_metric([name], lag)
        return family


def lags(parts: Parts) -> dict[str, int]:
    """By projection, how many offsets its checkpoints are behind the log as the tail sees it.

    A partition that a projection has no checkpoint for counts from its beginning.
    """
    heads = parts.hub.heads_of(parts.hub.places)
    found: dict[str, int] = {}
    for name, topics in parts.topics.items():
        reached = parts.progress.positions(name).positions
        found[name] = sum(
            max(0, head - reached.get(place, 0))
            for place, head in heads.items()
            if place[0] in topics
        )
    return found
