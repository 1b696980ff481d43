import pytest

from embed_assets.artifacts.secrets import without_secrets


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
