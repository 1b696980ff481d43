import logging
from collections.abc import Iterator

import pytest

from embed_assets import progress


def test_the_time_before_the_first_item_does_not_count_for_those_that_are_left(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    clock = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: clock[0])

    def answers() -> Iterator[int]:
        clock[0] += 100  # a model is loaded
        yield from range(8)  # the first block comes all at once
        for number in range(8, 61):
            clock[0] += 2
            yield number

    with caplog.at_level(logging.INFO):
        assert list(progress.track(answers(), "writing", total=61)) == list(range(61))
    assert caplog.messages[0] == "writing: 15 of 61, 0.875/s, about 53 s left"
    assert len(caplog.messages) == 6


def test_work_of_unknown_size_is_told_too(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture):
    clock = iter(range(0, 1000, 2))
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    with caplog.at_level(logging.INFO):
        assert list(progress.track(iter(range(20)), "reading")) == list(range(20))
    assert caplog.messages == ["reading: 9, 0.5/s", "reading: 17, 0.5/s"]
