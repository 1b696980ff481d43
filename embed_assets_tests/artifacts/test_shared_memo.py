"""What one machine encoded or asked, the others find."""

import logging
from pathlib import Path

import pytest

from embed_assets.artifacts import memo
from embed_assets.artifacts.memo import Memo, send_memos, stored_keys
from embed_assets.artifacts.remote_folder import RemoteFolder, share
from embed_assets.artifacts.shared_memo import SharedTable

ITEMS = [(f"{number:064x}", number.to_bytes(4, "big") * 96) for number in range(1200)]
NAME = "embeddings/intfloat--e5@v1.sqlite"


@pytest.fixture
def folders(remote_address: str, tmp_path: Path) -> tuple[Path, Path]:
    for machine in ("one", "two"):
        share(tmp_path / machine, f"{remote_address}/memos")
    return tmp_path / "one", tmp_path / "two"


def test_the_other_machine_finds_it_and_keeps_it(folders, monkeypatch):
    one, two = (Memo(folder / NAME) for folder in folders)
    assert two.get_many(["a"]) == {}
    one.put_many(ITEMS)  # more than UNSENT
    keys = [key for key, _ in ITEMS]
    assert stored_keys(two.path, [*keys[:10], "f" * 64]) == set(keys[:10])
    assert two.get_many([*keys, "f" * 64]) == dict(ITEMS)
    monkeypatch.setattr(SharedTable, "get_many", None)  # nobody is asked any more
    assert two.get_many(keys) == dict(ITEMS)


def test_what_waits_is_sent_before_a_result_is_stored_or_by_the_next_process(folders):
    two = Memo(folders[1] / NAME)
    Memo(folders[0] / NAME).put_many(ITEMS[:3])
    assert Memo(folders[0] / NAME).get_many([ITEMS[0][0]]) == dict(ITEMS[:1])
    assert stored_keys(two.path, [ITEMS[0][0]]) == set()
    send_memos()
    assert two.get_many([key for key, _ in ITEMS]) == dict(ITEMS[:3])
    Memo(folders[0] / NAME).put_many(ITEMS[3:5])
    memo._unsent.clear()  # the process was killed
    Memo(folders[0] / NAME).put_many(ITEMS[5:6])
    send_memos()
    assert two.get_many([key for key, _ in ITEMS]) == dict(ITEMS[:6])


def test_what_is_there_is_not_replaced_and_odd_keys_are_keys(folders):
    one, two = (Memo(folder / "answers.sqlite") for folder in folders)
    one.put_many([("it's", b"first"), ("x') OR true --", b"second")])
    one.send()
    two.put_many([("it's", b"later")])
    two.send()
    assert SharedTable((folders[0] / "shared_at").read_text(), "answers").get_many(["it's"]) == {"it's": b"first"}
    assert two.get_many(["x') OR true --"]) == {"x') OR true --": b"second"}


def test_what_cannot_be_sent_is_kept_for_later(folders, monkeypatch, caplog):
    one, two = (Memo(folder / NAME) for folder in folders)
    one.put_many(ITEMS[:2])
    with monkeypatch.context() as away, caplog.at_level(logging.WARNING, logger="embed_assets"):
        away.setattr(one._shared, "uri", "file:///dev/null/memos")
        one.send()
    assert "it is tried again later" in caplog.text and one._count_unsent() == 2
    one.send()
    assert two.get_many([ITEMS[0][0]]) == dict(ITEMS[:1])


def test_a_local_memo_asks_nobody(tmp_path, monkeypatch):
    monkeypatch.setattr(SharedTable, "__init__", None)
    local = Memo(tmp_path / NAME)
    local.put_many(ITEMS)
    assert local.get_many([key for key, _ in ITEMS]) == dict(ITEMS)


def test_many_commits_stay_findable(folders, monkeypatch, remote_address):
    monkeypatch.setattr("embed_assets.artifacts.shared_memo.TIDY_EVERY", 3)
    one, two = (Memo(folder / NAME) for folder in folders)
    for item in ITEMS[:4]:
        one.put_many([item])
        one.send()
    assert two.get_many([key for key, _ in ITEMS]) == dict(ITEMS[:4])
    assert any("/_indices/" in it.name for it in RemoteFolder(remote_address).objects("memos"))
