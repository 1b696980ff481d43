"""What a collection's own settings.yaml may set, and what only the operator's."""

import json
import re
from pathlib import Path

import pytest

from embed_assets.artifacts.blocks import Outside, SettingsError
from embed_assets.artifacts.workspace import Workspace
from embed_assets.settings import Settings, load_settings, read_settings

COMMIT = "0123456789abcdef0123456789abcdef01234567"
WRITER = {"engine": "endpoint", "name": "big", "url": "https://llm.corp.example/v1", "api_key_variable": "LLM_KEY"}
REMOTE = {"name": "someone/model", "revision": COMMIT, "trust_remote_code": True}


@pytest.fixture
def load(tmp_path: Path):
    """Settings of the collection ``pumps`` from what the operator's and its own file hold."""

    def load(operators: dict, own: dict) -> Settings:
        folder = tmp_path / "collections" / "pumps"
        folder.mkdir(parents=True, exist_ok=True)
        (tmp_path / "settings.yaml").write_text(json.dumps(operators))
        (folder / "settings.yaml").write_text(json.dumps(own, indent=1))
        return load_settings(tmp_path / "settings.yaml", folder / "settings.yaml")

    return load


# What a collection sets, the key it is refused for, and the block of the operator that allows it.
REACHES = {
    "url": (
        {"questions": {"writer": WRITER | {"api_key_variable": ""}}},
        "questions.writer.url",
        {"hosts": ["llm.corp.example"]},
    ),
    "url of an inner model": (
        {"questions": {"judge": WRITER | {"api_key_variable": ""}}},
        "questions.judge.url",
        {"hosts": ["*.corp.example"]},
    ),
    "key": (
        {"questions": {"writer": {"api_key_variable": "AWS_SECRET"}}},
        "questions.writer.api_key_variable",
        {"key_variables": ["AWS_SECRET"]},
    ),
    "endpoint": (
        {"publishing": {"endpoint_url": "http://10.0.0.9:8000/v1", "endpoint_model": "m"}},
        "publishing.endpoint_url",
        {"hosts": ["10.0.0.9:8000"]},
    ),
    "bucket": ({"publishing": {"uri": "s3://vectors/pumps"}}, "publishing.uri", {"databases": ["s3://vectors"]}),
    "folder": ({"production": {"uri": "/srv/lancedb"}}, "production.uri", {"databases": ["/srv/"]}),
    "home": ({"production": {"uri": "~/lancedb"}}, "production.uri", {"databases": ["~"]}),
    "way up": ({"production": {"uri": "collections/../../other"}}, "production.uri", None),
    "code": ({"base_model": REMOTE}, "base_model.trust_remote_code", {"remote_code": ["someone/model"]}),
    "code of one commit": (
        {"negatives": {"cross_encoder": "someone/model", "cross_encoder_revision": COMMIT, "trust_remote_code": True}},
        "negatives.trust_remote_code",
        {"remote_code": [f"someone/model@{COMMIT}"]},
    ),
}


@pytest.mark.parametrize(("own", "key", "allowed"), REACHES.values(), ids=REACHES)
def test_what_leads_out_of_a_collection_is_the_operator_s_to_allow(load, tmp_path, own, key, allowed):
    with pytest.raises(SettingsError) as caught:
        load({}, own)
    message = str(caught.value)
    assert message.startswith(f"{tmp_path / 'collections' / 'pumps' / 'settings.yaml'}: {key}: ")
    assert f"in {tmp_path / 'settings.yaml'} (line " in message
    if allowed:
        assert f"allowed.{next(iter(allowed))}" in message
        load({"allowed": allowed}, own)


@pytest.mark.parametrize(("own", "key", "allowed"), REACHES.values(), ids=REACHES)
def test_the_operator_s_own_settings_need_no_leave_and_a_collection_may_repeat_them(load, own, key, allowed):
    assert load(own, {}) == load(own, own)


@pytest.mark.parametrize(
    ("operators", "own", "key"),
    [
        # The operator's key would go to the collection's host.
        ({"questions": {"writer": WRITER}}, {"questions": {"writer": {"url": "https://evil.example/v1"}}}, "writer.url"),
        # The operator's trust would be for the collection's model.
        ({"base_model": REMOTE}, {"base_model": {"name": "evil/model"}}, "base_model.trust_remote_code"),
        ({"base_model": REMOTE}, {"base_model": {"revision": "f" * 40}}, "base_model.trust_remote_code"),
        # The re-ranker starts from the base model if it names none.
        ({"reranker": {"trust_remote_code": True}}, {"base_model": {"name": "./evil"}}, "reranker.trust_remote_code"),
        # A host that only looks like the one that is allowed.
        ({"allowed": {"hosts": ["a.example"]}}, {"questions": {"writer": WRITER | {"url": "http://a.example.evil/"}}}, "url"),
        ({"allowed": {"hosts": ["a.example:8000"]}}, {"questions": {"writer": WRITER | {"url": "http://a.example:22/"}}}, "url"),
        ({"allowed": {"hosts": ["a.example"]}}, {"questions": {"writer": WRITER | {"url": "http://evil/?@a.example"}}}, "url"),
        ({"allowed": {"databases": ["s3://vectors"]}}, {"publishing": {"uri": "s3://vectors-of-others/x"}}, "publishing.uri"),
        ({"allowed": {"databases": ["s3://vectors"]}}, {"publishing": {"uri": "s3://vectors/../x"}}, "publishing.uri"),
        # What the operator has wrong, and the collection puts right, allows nothing more.
        ({"chunking": {"max_tokens": 1}}, {"chunking": {"max_tokens": 64}, "publishing": {"uri": "/srv"}}, "publishing.uri"),
    ],
)
def test_nothing_of_the_operator_s_is_led_elsewhere(load, operators, own, key):
    with pytest.raises(SettingsError, match=rf"{key}: the collection .* is for the operator to allow"):
        load(operators, own)


def test_a_collection_sets_how_answers_are_sampled_and_no_route_of_a_gateway(load):
    route = {"provider": {"order": ["elsewhere"]}}
    operators = {"questions": {"writer": WRITER | {"extra_body": {"data_collection": "deny"}}}}

    def own(fields: dict) -> dict:
        return {"questions": {"writer": {"extra_body": fields}}}

    assert load(operators, own({"top_k": 20})).questions.writer.extra_body == {"data_collection": "deny", "top_k": 20}
    for fields, name in ((route, "provider"), ({"data_collection": "allow"}, "data_collection")):
        refused = rf"questions.writer.extra_body: the collection sends .*'{name}', .*allowed.request_fields"
        with pytest.raises(SettingsError, match=refused):
            load(operators, own(fields))
        load(operators | {"allowed": {"request_fields": [name]}}, own(fields))


def test_databases_below_the_data_folder_are_allowed_but_not_through_a_link_of_the_collection(load, tmp_path):
    assert load({}, {"publishing": {"uri": "indexes/pumps"}}).publishing.uri == "indexes/pumps"
    (tmp_path / "collections" / "pumps" / "link").symlink_to("/")
    assert load({}, {"publishing": {"uri": "collections/pumps/db"}})
    assert load({}, {"publishing": {"uri": str(tmp_path / "collections" / "pumps" / "db")}})
    (tmp_path / "vectors").symlink_to("/srv")  # the operator's own
    (tmp_path / "indexes").mkdir()
    (tmp_path / "indexes" / "pumps").symlink_to("/srv")
    for uri in ("vectors/pumps", "indexes/pumps"):
        assert load({}, {"publishing": {"uri": uri}})
    with pytest.raises(SettingsError, match=r"publishing.uri"):
        load({}, {"publishing": {"uri": str(tmp_path / "collections" / ".." / ".." / "srv")}})
    with pytest.raises(SettingsError, match="'collections/pumps/link/srv'"):
        load({}, {"publishing": {"uri": "collections/pumps/link/srv"}})


def test_a_link_of_a_collection_that_lies_beside_the_settings_leads_nowhere_either(tmp_path):
    (tmp_path / "pumps" / "documents").mkdir(parents=True)
    (tmp_path / "pumps" / "link").symlink_to("/")
    (tmp_path / "pumps" / "settings.yaml").write_text("publishing: {uri: pumps/link/srv}")
    with pytest.raises(SettingsError, match="'pumps/link/srv'"):
        read_settings(Workspace(tmp_path, tmp_path / "home"), "pumps")


def test_a_collection_cannot_allow_itself_anything(load, tmp_path):
    with pytest.raises(SettingsError, match=r"pumps/settings.yaml: allowed: a collection cannot allow itself .*\(line 2\)"):
        load({}, {"allowed": {"hosts": ["*"]}})
    # One collection as the data folder has no operator.
    (tmp_path / "documents").mkdir()
    (tmp_path / "settings.yaml").write_text("publishing: {uri: 's3://elsewhere/x'}")
    with pytest.raises(SettingsError, match=r"publishing.uri: the collection opens this database.*'s3://elsewhere/x'"):
        read_settings(Workspace(tmp_path, tmp_path / "home"), tmp_path.name)


def test_each_of_several_addresses_has_to_be_allowed(load):
    writer = {
        "engine": "endpoint",
        "url": "http://one.example/v1",
        "more_urls": ["http://two.example/v1", "http://one.example/v1"],
    }
    own = {"questions": {"writer": writer}}
    with pytest.raises(SettingsError, match=r"questions.writer.more_urls: .*'two.example'"):
        load({"allowed": {"hosts": ["one.example"]}}, own)
    load({"allowed": {"hosts": ["*.example"]}}, own)
    load({"questions": {"writer": writer}}, {})
    with pytest.raises(SettingsError, match=r"more_urls.0: .*environment variables") as caught:
        load({"questions": {"writer": writer | {"more_urls": [f"https://me:{SECRET}@host.example/v1"]}}}, {})
    assert SECRET not in str(caught.value)


SECRET = "hunter2secret"


@pytest.mark.parametrize(
    "where", [("questions", "writer", "url"), ("publishing", "endpoint_url"), ("production", "uri"), ("publishing", "uri")]
)
@pytest.mark.parametrize(
    "address",
    [
        f"https://me:{SECRET}@host.example/v1",
        f"https://{SECRET}@host.example/v1",
        f"https://host.example/v1?api_key={SECRET}",
        f"https://host.example/v1?version=2&X-Amz-Signature={SECRET}",
        f"az://container/path?sig={SECRET}",
        f"abfss://container:{SECRET}@account.dfs.core.windows.net/x",
    ],
)
def test_credentials_in_an_address_are_refused_and_not_repeated(load, where, address):
    settings = {where[-1]: address} | ({"engine": "endpoint"} if where[-1] == "url" else {})
    for name in reversed(where[:-1]):
        settings = {name: settings}
    for operators, own in ((settings, {}), ({}, settings)):
        with pytest.raises(SettingsError, match=f"{where[-1]}: .*environment variables") as caught:
            load(operators, own)
        assert SECRET not in str(caught.value)


def test_a_key_in_place_of_its_variable_is_refused_and_not_repeated(load):
    for block in (
        {"questions": {"writer": {"api_key_variable": f"sk-{SECRET}"}}},
        {"publishing": {"endpoint_key_variable": SECRET}},
    ):
        with pytest.raises(SettingsError, match="not the name of an environment variable") as caught:
            load(block, {})
        assert SECRET not in str(caught.value)


def test_a_secret_beside_another_error_of_the_file_is_not_repeated(load, tmp_path):
    with pytest.raises(SettingsError) as caught:
        load({"questions": {"writer": {"api_key": SECRET}}}, {})
    assert SECRET not in str(caught.value)
    (tmp_path / "settings.yaml").write_text(f"url: a\nurl: https://me:{SECRET}@host\n")
    with pytest.raises(SettingsError, match="line 2: the key 'url' stands twice") as caught:
        load_settings(tmp_path / "settings.yaml")
    (tmp_path / "settings.yaml").write_text(f"url: https://me:{SECRET}@host: x: y\n")
    with pytest.raises(SettingsError, match="not a YAML file: line 1: ") as again:
        load_settings(tmp_path / "settings.yaml")
    assert SECRET not in str(caught.value) + str(again.value)


@pytest.mark.parametrize("block", ["base_model", "reranker"])
def test_code_of_a_hub_runs_of_one_commit_only(load, block):
    for revision in ("", "main", "v1.0", COMMIT[:8]):
        with pytest.raises(SettingsError, match=f"{block}: .*'someone/model'.*full commit"):
            load({block: REMOTE | {"revision": revision}}, {})
    assert getattr(load({block: REMOTE}, {}), block).revision == COMMIT
    assert load({block: {"name": "./folder", "trust_remote_code": True}}, {})


def test_every_address_variable_database_and_trust_is_marked():
    """A new setting whose name says that it leads outside has to be marked too."""

    def fields(block):
        for name, field in type(block).model_fields.items():
            value = getattr(block, name)
            yield from fields(value) if hasattr(value, "model_fields") else [(name, field)]

    leading = re.compile(r"ur[il]$|key_variable$|trust_remote_code$")
    telling = [(name, field.metadata) for name, field in fields(Settings()) if leading.search(name)]
    assert len(telling) > 10
    assert [name for name, metadata in telling if not any(isinstance(mark, Outside) for mark in metadata)] == []
