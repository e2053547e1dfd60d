"""The metrics of a process: counted at ends, exact, and of a bounded number."""

import threading

from streaming.telemetry.metrics import Counter, Gauge, Histogram, Sample


def test_a_counter_adds_up_for_each_value_of_its_labels() -> None:
    counter = Counter("x_total", "X.", ("kind",))
    counter.add(1, "a")
    counter.add(2.5, "a")
    counter.add(1, "b")
    assert counter.samples() == [Sample(("a",), 3.5), Sample(("b",), 1.0)]


def test_threads_that_count_at_the_same_time_lose_nothing() -> None:
    counter, histogram = Counter("x_total", "X."), Histogram("x_seconds", "X.")

    def count() -> None:
        for _ in range(5_000):
            counter.add(1)
            histogram.observe(1.0)

    threads = [threading.Thread(target=count) for _ in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert counter.samples() == [Sample((), 20_000)]
    [sample] = histogram.samples()
    assert (sample.value, sample.buckets[-1]) == (20_000, 20_000)


def test_a_histogram_counts_observations_up_to_each_bound() -> None:
    histogram = Histogram("x_seconds", "X.", bounds=(0.1, 1.0))
    for value in (0.05, 0.1, 0.5, 7.0):
        histogram.observe(value)
    assert histogram.samples() == [Sample((), 7.65, (2, 3, 4))]
    assert histogram.family().bounds == (0.1, 1.0)


def test_a_gauge_is_the_sum_of_its_sources_as_long_as_they_are_open() -> None:
    gauge = Gauge("x", "X.")
    with gauge.read_from(lambda: 2.0), gauge.held(), gauge.held():
        assert gauge.samples() == [Sample((), 4.0)]
        assert gauge.held_count == 2
    assert gauge.samples() == [Sample((), 0.0)]
