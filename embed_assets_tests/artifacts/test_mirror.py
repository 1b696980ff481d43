"""A data folder on an object store is read as if it lay here, and what did not change is not fetched again."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from embed_assets.artifacts import mirror
from embed_assets.artifacts.files import files_below, fingerprint_of
from embed_assets.artifacts.mirror import Mirror
from embed_assets.artifacts.remote_folder import Listed, RemoteError, RemoteFolder, ReplacedError
from embed_assets.artifacts.workspace import CollectionError, Workspace, open_workspace
from embed_assets.corpus.files import source_digest, source_parts
from embed_assets.settings import read_settings
from embed_assets_tests.small_collections import ROUTERS, write_small_collections


@pytest.fixture
def local(tmp_path: Path) -> Path:
    write_small_collections(tmp_path / "local")
    return tmp_path / "local"


@pytest.fixture
def remote(remote_address: str, local: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RemoteFolder:
    remote = RemoteFolder(remote_address)
    for path in files_below(local):
        remote.upload(path.relative_to(local).as_posix(), path)
    monkeypatch.setenv("EMBED_ASSETS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(mirror, "FRESH_FOR", 0.0)
    return remote


def opened(remote: RemoteFolder, tmp_path: Path) -> Workspace:
    return open_workspace(remote.url, str(tmp_path / "home"))


def edit(remote: RemoteFolder, name: str, text: str) -> None:
    remote.write(name, text.encode(), remote.read(name))


def test_it_is_read_as_if_it_lay_here(remote, local, tmp_path):
    here, there = open_workspace(str(local), str(tmp_path / "home")), opened(remote, tmp_path)
    assert list(there.collections()) == list(here.collections()) == ["bakery", "routers"]
    assert read_settings(there, "routers") == read_settings(here, "routers")
    assert source_digest(there.documents_folder("routers")) == source_digest(here.documents_folder("routers"))
    assert source_parts(there.documents_folder("bakery")) == source_parts(here.documents_folder("bakery"))
    assert (there.collection_folder("routers") / "qrels" / "test.tsv").is_file()


def test_one_changed_document_is_one_file_to_fetch(remote, tmp_path, monkeypatch):
    folder = opened(remote, tmp_path).documents_folder("routers")
    fetched: list[str] = []
    download = RemoteFolder.download

    def counted(remote: RemoteFolder, name: str, path: Path, size: int, etag: str) -> str:
        fetched.append(name)
        return download(remote, name, path, size, etag)

    monkeypatch.setattr(RemoteFolder, "download", counted)
    opened(remote, tmp_path).documents_folder("routers")
    assert fetched == []
    edit(remote, "collections/routers/documents/led.md", ROUTERS["led.md"].replace("port 7", "port 8"))  # of the same size
    edit(remote, "collections/routers/documents/deep/new.md", "# New\n\nA page that was added later, in a folder of its own.\n")
    remote.delete(["collections/routers/documents/fan.md"])
    place = opened(remote, tmp_path)
    assert fetched == [], "documents are fetched only where they are read"
    assert place.documents_folder("routers") == folder
    assert sorted(fetched) == ["collections/routers/documents/deep/new.md", "collections/routers/documents/led.md"]
    names = set(source_parts(folder))
    assert "documents/fan.md" not in names and {"documents/deep/new.md", "documents/led.md"} <= names
    remote.delete(["collections/routers/documents/deep/new.md"])
    opened(remote, tmp_path).documents_folder("routers")
    assert not (folder / "documents" / "deep").exists()


def test_a_file_that_is_replaced_while_it_is_fetched_is_listed_again(remote, tmp_path, monkeypatch):
    """All of its ranges are of one object, and never recorded under the ETag of another."""
    name, blocks, texts = "collections/routers/documents/led.md", RemoteFolder.blocks, iter(["two " * 20, "three " * 20])
    edit(remote, name, "one " * 20)

    def replaced_between(remote: RemoteFolder, of: str, size: int, etag: str = "") -> Iterator[bytes]:
        for number, block in enumerate(blocks(remote, of, size, etag)):
            yield block
            if of == name and number == 3 and (text := next(texts, None)):
                edit(remote, name, text)

    monkeypatch.setattr("embed_assets.artifacts.remote_folder.BYTES_AT_ONCE", 8)
    monkeypatch.setattr(RemoteFolder, "blocks", replaced_between)
    folder = opened(remote, tmp_path).documents_folder("routers")
    assert (folder / "documents" / "led.md").read_text() == "three " * 20
    texts = (f"{number} " * 40 for number in range(10, 99))
    edit(remote, name, "four " * 20)
    with pytest.raises(ReplacedError, match=r"led.md: is replaced again and again"):
        opened(remote, tmp_path).documents_folder("routers")
    assert (folder / "documents" / "led.md").read_text() == "three " * 20


def test_a_file_that_is_removed_while_it_is_fetched_is_none(remote, tmp_path, monkeypatch):
    fetch = Mirror._fetch

    def removed_before(mirror: Mirror, it: Listed) -> bool:
        if it.name.endswith("fan.md"):
            remote.delete([it.name])
        return fetch(mirror, it)

    monkeypatch.setattr(Mirror, "_fetch", removed_before)
    folder = opened(remote, tmp_path).documents_folder("routers")
    assert not (folder / "documents" / "fan.md").exists() and (folder / "documents" / "led.md").is_file()


def test_documents_of_another_collection_are_not_fetched(remote, tmp_path):
    place = opened(remote, tmp_path)
    place.documents_folder("routers")
    assert not any((place.collection_folder("bakery") / "documents").iterdir())


def test_a_file_that_was_lost_here_is_fetched_again(remote, tmp_path):
    folder = opened(remote, tmp_path).documents_folder("routers")
    (folder / "documents" / "led.md").unlink()
    (folder / "qrels" / "test.tsv").write_text("")
    opened(remote, tmp_path).documents_folder("routers")
    assert (folder / "documents" / "led.md").is_file() and (folder / "qrels" / "test.tsv").read_text()


def test_a_collection_that_is_gone_is_gone_here(remote, tmp_path):
    opened(remote, tmp_path).documents_folder("bakery")
    remote.delete([it.name for it in remote.objects("collections/bakery")])
    assert list(opened(remote, tmp_path).collections()) == ["routers"]


def test_databases_lie_there_and_are_not_fetched(remote, tmp_path):
    edit(remote, "published/routers.lance/data/1.lance", "rows")
    place = opened(remote, tmp_path)
    assert place.database("published") == f"{remote.url}/published"
    assert place.database("./deep/../published") == f"{remote.url}/published"
    assert place.database("../published") == f"{remote.url.rpartition('/')[0]}/published"
    assert place.database("s3://other/index") == "s3://other/index"
    assert place.database("/srv/lance") == "/srv/lance"
    assert place.database("~/lance") == str(Path.home() / "lance")
    assert not list(place.data.rglob("*.lance"))


def test_objects_that_stand_for_folders_are_no_files(remote, tmp_path):
    edit(remote, "collections/routers", "")
    edit(remote, "collections/routers/documents", "")
    assert opened(remote, tmp_path).documents_folder("routers").is_dir()


def test_nothing_is_written_where_it_would_be_lost(remote, tmp_path):
    with pytest.raises(CollectionError, match="settings and labels are only read there"):
        opened(remote, tmp_path).writable_folder("routers")


def test_no_object_and_no_state_leads_out_of_the_folder(remote, tmp_path):
    """Who can write into the data folder there must not remove anything else here."""
    victim = tmp_path / "victim"
    victim.mkdir()
    (victim / "page.md").write_text("not of this data folder")
    names = ["../../../victim/", "../../../victim/page.md", f"{victim}/", f"{victim}/page.md", "../data/", "", "."]
    state = json.dumps(dict.fromkeys(names[:-2], "etag"))
    for place in ("", "collections/routers/documents"):
        edit(remote, f".mirror/{fingerprint_of(place)}.json", state)
    place = opened(remote, tmp_path)
    assert (place.data / names[0]).resolve() == victim
    assert not Mirror(remote, place.data).states.is_relative_to(place.data)
    folder = place.documents_folder("routers")
    assert (victim / "page.md").is_file(), "an object was taken for what this machine knows"
    for path in Mirror(remote, place.data).states.glob("*.json"):
        path.write_text(state)
    opened(remote, tmp_path).documents_folder("routers")
    assert (victim / "page.md").is_file() and (folder / "documents" / "led.md").is_file()
    for name in names:
        with pytest.raises(RemoteError, match="is not removed"):
            Mirror(remote, place.data)._remove(name)
