"""Words kept of files whose words are known."""

import pytest

from embed_assets.benchmarks.readers import benchmark_readers
from embed_assets_tests.corpus.readers.test_conversion import docx


def test_words_are_counted_against_a_plain_extraction(tmp_path):
    (tmp_path / "a.html").write_text(
        "<title>No</title><nav><a href=x>Menu</a></nav><p>One <b>tw</b>o three.</p><script>no</script>"
    )
    (tmp_path / "b.docx").write_bytes(docx("<w:p><w:r><w:t>One tw</w:t></w:r><w:r><w:t>o</w:t></w:r></w:p>"))
    (tmp_path / "c.docx").write_bytes(b"broken")
    table = benchmark_readers(tmp_path)
    assert table.select("ending", "files", "words_kept", "unread").rows() == [(".docx", 2, 1.0, 1), (".html", 1, 0.75, 0)]


def test_files_without_bytes_have_no_rate_and_a_folder_without_files_is_told(tmp_path):
    with pytest.raises(ValueError, match=f"there is no file in {tmp_path}"):
        benchmark_readers(tmp_path)
    (tmp_path / "a.md").touch()
    assert benchmark_readers(tmp_path).select("files", "seconds_per_megabyte").rows() == [(1, None)]
