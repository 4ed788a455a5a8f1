"""What status, quarantine and metrics say about series."""

import time
from collections.abc import Iterator

from prometheus_client.core import GaugeMetricFamily

from tfmisr.gateway.queue import Queue
from tfmisr.gateway.schema import COLLECTING, FAILED, PROCESSED, PROCESSING, RECEIVED


def _counts(queue: Queue) -> dict[str, int]:
    return {row[0]: row[1] for row in queue.rows("SELECT state, COUNT(*) FROM series GROUP BY 1")}


def oldest(queue: Queue) -> float:
    """Returns the seconds since the first image of the oldest series that is not complete; 0 if there is none."""
    first = queue.rows(f"SELECT MIN(first_at) FROM series WHERE state = '{COLLECTING}'")[0][0]
    return max(time.time() - first, 0.0) if first else 0.0


def status(queue: Queue) -> list[str]:
    """Returns the lines of the status; none where no series was ever received for a volume method."""
    counts = _counts(queue)
    if not counts:
        return []
    complete = counts.get(RECEIVED, 0) + counts.get(PROCESSING, 0)
    late = queue.rows("SELECT SUM(late) FROM series")[0][0]
    return [
        f"series: waiting for images {counts.get(COLLECTING, 0)} (oldest {oldest(queue):.0f} s), to process "
        f"{complete}, processed {counts.get(PROCESSED, 0)}, quarantined {counts.get(FAILED, 0)}; late images {late}"
    ]


def quarantine(queue: Queue) -> list[str]:
    """Returns a line for each quarantined series, its name first."""
    return [
        f"series:{row['id']}  series {row['id']}, {row['attempts']} attempts: {row['reason']}"
        for row in queue.rows(f"SELECT * FROM series WHERE state = '{FAILED}' ORDER BY id")
    ]


def gauges(queue: Queue, prefix: str) -> Iterator[GaugeMetricFamily]:
    """Yields the gauges of series.

    Args:
        queue: The queue.
        prefix: Of their names.
    """
    states = GaugeMetricFamily(prefix + "series", "series of volume methods by state", labels=["state"])
    for state, count in _counts(queue).items():
        states.add_metric([state], count)
    yield states
    text = "since the first image of the oldest incomplete series"
    yield GaugeMetricFamily(prefix + "oldest_waiting_series_seconds", text, value=oldest(queue))
    late = queue.rows("SELECT COALESCE(SUM(late), 0) FROM series")[0][0]
    yield GaugeMetricFamily(prefix + "late_images", "images that came after their series was complete", value=late)
