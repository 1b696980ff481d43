import os
import time

import pytest

from embed_assets.artifacts.secrets import hide_secrets, without_secrets


@pytest.mark.parametrize(
    ("message", "key", "shown"),
    [
        ("wrong key s3cr3t/+=", "s3cr3t/+=", "wrong key …"),
        ("GET /v1?k=s3cr3t%2F%2B%3D failed", "s3cr3t/+=", "GET /v1?k=… failed"),
        (r'{"key": "a\"b"}', 'a"b', '{"key": "…"}'),
        ("no connection to https://me:pass@host/v1", "", "no connection to https://…@host/v1"),
        ("s3 error: https://b.example/x?X-Amz-Signature=abc&y=1", "", "s3 error: https://b.example/x?X-Amz-Signature=…&y=1"),
        ("az error: https://b.example/x?sv=2&sig=abc", "", "az error: https://b.example/x?sv=2&sig=…"),
        ("Authorization: Bearer abc.def", "", "Authorization: Bearer …"),
        ("nothing to hide", "", "nothing to hide"),
    ],
)
def test_what_is_secret_is_taken_out_of_messages(message, key, shown):
    assert without_secrets(message, key) == without_secrets(ValueError(message), key) == shown


def test_a_key_at_the_cut_is_not_shown_in_part():
    assert "abc" not in without_secrets("x " * 148 + "abcdefghijklmnop", "abcdefghijklmnop")


def test_a_long_message_takes_no_time():
    started = time.process_time()
    assert hide_secrets("?" + "key" * 100_000) == "?" + "key" * 100_000
    assert time.process_time() - started < 5


def test_what_the_environment_keeps_secret_is_hidden_and_paths_and_short_words_are_not(monkeypatch):
    secrets = {"AWS_SESSION_TOKEN": "tok/en+1==", "WRITER_KEY": "k3y-of-writer", "AZURE_STORAGE_SAS": "sv=2&q=%41bc"}
    for name, value in (secrets | {"CREDENTIALS": "/etc/login.json", "API_KEY": "none"}).items():
        monkeypatch.setenv(name, value)
    said = "none in /etc/login.json: x-amz-security-token:tok/en+1==, tok%2Fen%2B1%3D%3D, k3y-of-writer, ?sv=2&q=%41bc"
    assert hide_secrets(said) == "none in /etc/login.json: x-amz-security-token:…, …, …, ?…"


def test_what_is_no_secret_for_all_the_name_of_its_variable_is_shown(monkeypatch):
    values = {"KEYBOARD_LAYOUT": "document", "MAX_TOKENS": "16777216", "PGPASSWORD": "postgres", "PASSPHRASE": "correct horse"}
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    said = "documents, 16777216 characters, postgresql://x: postgres, correct horse"
    assert hide_secrets(said) == "documents, 16777216 characters, postgresql://x: …, …"


def test_a_secret_that_is_no_utf8_hides_no_error(monkeypatch):
    monkeypatch.setitem(os.environb, b"DB_PASSWORD", b"p\xe4ssw\xf6rd-99")
    assert hide_secrets("no such collection") == "no such collection"
    assert hide_secrets("wrong: p%E4ssw%F6rd-99") == "wrong: …"
