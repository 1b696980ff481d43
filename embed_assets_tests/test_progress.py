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
        for number in range(61):
            yield number
            clock[0] += 2

    with caplog.at_level(logging.INFO):
        assert list(progress.track(answers(), "writing", total=61)) == list(range(61))
    assert caplog.messages[0] == "writing: 2 of 61, 0.5/s, about 118 s left"
    assert caplog.messages[-1].startswith("writing: 58 of 61, 0.5/s, about 6 s left")
