"""When a change of a table leads to a run."""

import pytest

from embed_assets.corpus.production_table import Change
from embed_assets.production.retraining import Decision, Watch, decide
from embed_assets.production.settings import RetrainingSettings

SETTINGS = RetrainingSettings(changed_rows=100, changed_share=0.05, quiet_minutes=10.0, max_wait_minutes=60.0)
LARGE = Change(added=150, changed=0, removed=0, rows=10_000)
NOTHING = Change(added=0, changed=0, removed=0, rows=10_000)


@pytest.mark.parametrize(
    ("change", "enough"),
    [
        (Change(0, 0, 0, 10_000), False),
        (Change(99, 0, 0, 10_000), False),
        (Change(40, 30, 30, 10_000), True),
        (Change(0, 0, 49, 1000), False),
        (Change(0, 50, 0, 1000), True),
        (Change(1, 0, 0, 8), True),
        (Change(0, 0, 8, 0), True),
    ],
)
def test_rows_or_share_of_rows(change: Change, enough: bool):
    _, decision = decide(Watch("a", moved=0.0), "a", change, SETTINGS, now=10_000.0)
    assert decision.run == enough


def test_one_run_for_a_thousand_small_commits():
    watch, runs = Watch(), 0
    for tick in range(200):
        committed = min(1000, 10 * tick)
        change = Change(committed, 0, 0, 10_000 + committed)
        watch, decision = decide(watch, f"content {committed}", change, SETTINGS, now=30.0 * tick)
        runs += decision.run
    assert runs == 1
    assert watch.asked_for == "content 1000"


def test_a_table_that_never_rests_is_not_waited_for_any_longer_than_the_maximum():
    watch, asked = Watch(), []
    for minute in range(0, 200, 5):
        watch, decision = decide(watch, f"content {minute}", LARGE, SETTINGS, now=60.0 * minute + 1000, busy=bool(asked))
        if decision.run:
            asked.append(minute)
    assert asked == [60]


def test_changes_during_a_run_wait_for_its_end():
    watch, decision = decide(Watch("b", moved=0.0), "b", LARGE, SETTINGS, now=700.0)
    assert decision.run
    watch, decision = decide(watch, "c", LARGE, SETTINGS, now=2000.0, busy=True)
    assert (decision.run, decision.reason) == (
        False,
        "150 added, 0 changed, 0 removed of 10,000 rows: waits for the run in progress",
    )
    watch, decision = decide(watch, "c", LARGE, SETTINGS, now=2100.0)
    assert not decision.run
    watch, decision = decide(watch, "c", LARGE, SETTINGS, now=2700.0)
    assert decision.run


def test_a_run_that_did_not_fail_is_not_asked_for_again():
    watch, decision = decide(Watch("b", moved=0.0), "b", LARGE, SETTINGS, now=700.0)
    assert decision.run
    for now in (800.0, 8000.0, 80_000.0):
        watch, decision = decide(watch, "b", LARGE, SETTINGS, now)
        assert (decision.run, "already" in decision.reason) == (False, True)


@pytest.mark.parametrize("change", [LARGE, NOTHING], ids=["failed before the chunks", "failed after them"])
def test_a_run_that_failed_is_asked_for_again_after_growing_pauses_and_not_for_ever(change: Change):
    watch, decision = decide(Watch("b", moved=0.0), "b", LARGE, SETTINGS, now=1000.0)
    asked, failed_at, requests = [1000.0], 1100.0, {watch.request}
    watch, decision = decide(watch, "b", change, SETTINGS, now=1050.0, busy=True)
    assert not decision.run
    for now in range(1100, 20_000, 30):
        watch, decision = decide(watch, "b", change, SETTINGS, float(now), failed_at=failed_at)
        if decision.run:
            asked.append(float(now))
            requests.add(watch.request)
            failed_at = now + 100.0
    # 15 minutes after the first failure at 1100, and 30 minutes after the second at 2100.
    assert asked == [1000.0, 2000.0, 3920.0]
    assert len(requests) == 3
    assert "3 runs failed: mend what they name" in decision.reason


def test_a_run_that_failed_and_was_mended_by_hand_is_forgotten():
    watch, _ = decide(Watch("b", moved=0.0), "b", LARGE, SETTINGS, now=1000.0)
    watch, decision = decide(watch, "b", LARGE, SETTINGS, now=3000.0, failed_at=1100.0)
    assert (decision.run, watch.tries) == (True, 2)
    watch, decision = decide(watch, "b", NOTHING, SETTINGS, now=4000.0)
    assert (decision, watch.tries, watch.request) == (Decision(False, "nothing changed"), 0, "")


def test_a_large_new_change_after_failures_is_a_request_of_its_own():
    watch = Watch("b", moved=0.0, asked_for="b", tries=3)
    watch, decision = decide(watch, "c", LARGE, SETTINGS, now=10_000.0, failed_at=5000.0)
    assert "waits until nothing moves" in decision.reason
    watch, decision = decide(watch, "c", LARGE, SETTINGS, now=10_700.0, failed_at=5000.0)
    assert (decision.run, watch.asked_for, watch.tries) == (True, "c", 1)


def test_a_small_new_change_does_not_hide_that_a_run_failed():
    watch = Watch("b", moved=0.0, asked_for="b", tries=1)
    watch, decision = decide(watch, "c", Change(1, 0, 0, 10_000), SETTINGS, now=10_000.0, failed_at=5000.0)
    assert (decision.run, watch.asked_for, watch.tries) == (True, "c", 2)


def test_small_changes_do_not_use_up_the_waiting_time_of_a_large_one():
    watch, _ = decide(Watch(), "a", Change(1, 0, 0, 10_000), SETTINGS, now=0.0)
    watch, decision = decide(watch, "b", LARGE, SETTINGS, now=100_000.0)
    assert not decision.run
    assert decide(watch, "b", LARGE, SETTINGS, now=100_600.0)[1].run


def test_change_that_is_taken_back_leads_to_no_run():
    watch, _ = decide(Watch(), "b", LARGE, SETTINGS, now=0.0)
    watch, decision = decide(watch, "a", Change(0, 0, 0, 9850), SETTINGS, now=1000.0)
    assert not decision.run
    assert watch.due == 0.0


def test_a_clock_that_ran_ahead_is_not_waited_for():
    now = 1_800_000_000.0
    ahead = now + 365 * 24 * 3600
    watch, _ = decide(Watch(), "a", NOTHING, SETTINGS, ahead)
    watch, decision = decide(watch, "b", LARGE, SETTINGS, ahead)
    assert not decision.run
    watch, decision = decide(watch, "b", LARGE, SETTINGS, now)
    assert not decision.run, "the table has to rest by the clock of now"
    watch, decision = decide(watch, "b", LARGE, SETTINGS, now + 3600)
    assert decision.run
    _, decision = decide(watch, "b", LARGE, SETTINGS, now + 7200, failed_at=ahead)
    assert decision.reason.endswith("its run failed, tried again in 15 minutes")
