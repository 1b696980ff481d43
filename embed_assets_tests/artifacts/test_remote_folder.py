"""Objects are written whole, on a condition, and named by addresses without anything secret in them."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from embed_assets.artifacts import remote_folder
from embed_assets.artifacts.remote_folder import AddressError, RemoteError, RemoteFolder
from embed_assets.artifacts.workspace import cache_of, open_workspace
from embed_assets_tests.object_stores import SECRET_KEY


@pytest.fixture(params=["s3", "file"])
def remote(request: pytest.FixtureRequest, tmp_path: Path) -> RemoteFolder:
    if request.param == "file":
        return RemoteFolder(f"file://{tmp_path}/shared disk")
    return RemoteFolder(request.getfixturevalue("remote_address"))


def test_nothing_is_overwritten_by_who_saw_nothing(remote):
    assert remote.read("current") is None
    assert remote.write("current", b"one", None)
    assert not remote.write("current", b"two", None)
    assert remote.read("current").content == b"one"


def test_what_somebody_else_replaced_is_not_overwritten(remote):
    remote.write("current", b"one", None)
    seen = remote.read("current")
    assert remote.write("current", b"two", seen)
    assert not remote.write("current", b"three", seen)
    assert remote.read("current").content == b"two"
    seen = remote.read("current")
    remote.delete(["current"])
    assert not remote.write("current", b"four", seen)
    assert list(remote.objects()) == [] and remote.read("current") is None


def test_of_many_that_replace_at_once_each_has_seen_the_one_before(remote):
    """A count of which none is lost; each writer has an end of its own."""
    remote.write("current", b"0", None)

    def count(_: int) -> None:
        for _ in range(5):
            while not remote.write("current", str(int((seen := remote.read("current")).content) + 1).encode(), seen):
                continue

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(count, range(4)))
    assert remote.read("current").content == b"20"


def test_files_come_back_as_they_were(remote, tmp_path, monkeypatch):
    monkeypatch.setattr("embed_assets.artifacts.remote_folder.BYTES_AT_ONCE", 5 << 20)
    content = bytes(range(256)) * 50_000
    (tmp_path / "large").write_bytes(content)
    (tmp_path / "empty").touch()
    names = {"model/large": "large", "münze 100%#.txt": "large", "model/empty": "empty"}
    for name, file in names.items():
        remote.upload(name, tmp_path / file)
        remote.download(name, tmp_path / "back", (tmp_path / file).stat().st_size)
        assert (tmp_path / "back").read_bytes() == (tmp_path / file).read_bytes()
    assert {it.name: it.size for it in remote.objects()} == {
        name: (tmp_path / file).stat().st_size for name, file in names.items()
    }
    assert remote.folders() == ["model"] and remote.folders("nowhere") == []


@pytest.mark.parametrize(
    "address",
    [
        f"s3://AKIA:{SECRET_KEY}@house/embeddings",
        f"s3://{SECRET_KEY}@house",
        f"s3://house/embeddings?aws_secret_access_key={SECRET_KEY}",
        f"https://house.s3.amazonaws.com/?X-Amz-Signature={SECRET_KEY}",
        f"s3://[{SECRET_KEY}/embeddings",
        "s3:///embeddings",
        "memory://house",
        "file://",
        "file://house/embeddings",
    ],
)
def test_an_address_that_cannot_be_used_is_refused_and_not_repeated(address, tmp_path):
    with pytest.raises(AddressError) as refused:
        open_workspace(str(tmp_path), address)
    assert SECRET_KEY not in str(refused.value)


def test_a_missing_bucket_is_named(bucket):
    with pytest.raises(RemoteError, match="s3://nowhere/embeddings: there is no such bucket"):
        RemoteFolder("s3://nowhere/embeddings").write("home_id", b"1", None)
    with pytest.raises(RemoteError, match=r"s3://nowhere/data.*404"):
        list(RemoteFolder("s3://nowhere/data").objects())


def test_two_machines_have_one_id(remote_address, tmp_path, monkeypatch):
    ids = set()
    for machine in ("one", "two"):
        monkeypatch.setenv("EMBED_ASSETS_CACHE", str(tmp_path / machine))
        ids.add(open_workspace(str(tmp_path), remote_address).home_id)
    assert len(ids) == 1


def test_machines_that_share_the_folders_of_users_have_their_own(tmp_path, monkeypatch):
    monkeypatch.delenv("EMBED_ASSETS_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    folders = set()
    for host in ("node-1", "node-2"):
        monkeypatch.setattr("socket.gethostname", lambda host=host: host)
        folders.add(cache_of("s3://house/a"))
    assert len(folders) == 2
    monkeypatch.setenv("EMBED_ASSETS_CACHE", str(tmp_path / "volume"))
    assert cache_of("s3://house/a").parent == tmp_path / "volume"


def test_a_file_that_is_gone_is_not_taken_for_a_bucket_that_is_missing(remote, tmp_path, monkeypatch):
    path = tmp_path / "gone"
    with pytest.raises(FileNotFoundError, match="gone"):
        remote.upload("model/weights", path)
    # Nor one that goes after its size was read.
    path.write_text("weights")
    monkeypatch.setattr(RemoteFolder, "_objects", property(lambda it: path.unlink() or remote_folder._open(it.url)))
    with pytest.raises(FileNotFoundError):
        remote.upload("model/weights", path)


def test_homes_share_no_folder_of_this_machine(tmp_path, monkeypatch):
    monkeypatch.setenv("EMBED_ASSETS_CACHE", str(tmp_path))
    folders = {cache_of(address) for address in ("s3://house/a/b", "s3://house/a-b", "gs://house/a/b")}
    assert len(folders) == 3
    assert open_workspace(str(tmp_path), "s3://house/a/b/").home == cache_of("s3://house/a/b")


def test_an_empty_variable_is_none(tmp_path, monkeypatch):
    for name in ("EMBED_ASSETS_DATA", "EMBED_ASSETS_HOME", "DAGSTER_HOME"):
        monkeypatch.setenv(name, "")
    monkeypatch.chdir(tmp_path)
    opened = open_workspace()
    assert (opened.data, opened.home) == (tmp_path / "data", tmp_path / ".dagster_home")
