"""An endpoint beside the checkpoint that it should serve: vLLM's own server, and servers that answer something else."""

import json
import shutil
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import polars as pl
import pytest

from embed_assets.evaluation.dev_set import DevSet
from embed_assets.models.encoders import Encoder, load_sentence_transformer
from embed_assets.models.hardware import Compute
from embed_assets.models.locations import locate_model
from embed_assets.models.settings import BaseModelSettings
from embed_assets.production.checks import LEAST_SERVED_COSINE
from embed_assets.production.serving import EndpointEncoder, ServingError, check_endpoint, compare_metrics
from embed_assets_tests.hub_cache import PINNED, cache_of_hub
from embed_assets_tests.ports import free_port
from embed_assets_tests.sample_documents import DOCUMENTS
from embed_assets_tests.vllm_servers import VllmServer

MODEL = BaseModelSettings().name
PASSAGES = [document.text for document in DOCUMENTS] + ["word " * 2000]
QUERIES = ["router keeps rebooting", "LIC-77"]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VllmServer]:
    """Serves the base model."""
    server = VllmServer(MODEL, tmp_path_factory.mktemp("vllm"), "--runner pooling --served-model-name tuned")
    yield server
    server.stop()


@pytest.fixture
def answer_with() -> Iterator[Callable[[int, bytes], str]]:
    """Starts a server that gives every request the same answer; returns its URL."""
    servers = []

    def start(status: int, body: bytes) -> str:
        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                self.rfile.read(int(self.headers["Content-Length"]))
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        servers.append(ThreadingHTTPServer(("127.0.0.1", 0), Handler))
        threading.Thread(target=servers[-1].serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{servers[-1].server_port}/v1"

    yield start
    for server in servers:
        server.shutdown()


def encoder(memos: Path, name: str | None = None, **settings) -> Encoder:
    return Encoder(BaseModelSettings(**settings), memos, name, Compute("cpu", "float32"))


def embeddings(*vectors: list[float]) -> bytes:
    data = [{"object": "embedding", "index": i, "embedding": vector} for i, vector in enumerate(vectors)]
    return json.dumps({"object": "list", "model": "tuned", "data": data}).encode()


def test_server_that_is_down_is_named(memos: Path):
    url = f"http://127.0.0.1:{free_port()}/v1"
    with pytest.raises(ServingError, match=r"no connection .*start the server, or correct publishing.endpoint_url") as error:
        check_endpoint(url, "tuned", encoder(memos), QUERIES, [])
    assert url in str(error.value)


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (401, b'{"error": {"message": "wrong key"}}', "HTTP 401: .*wrong key.*publishing.endpoint_key_variable"),
        (200, embeddings([1.0, 0.0], [0.0, 1.0]), "vectors of 2 dimensions, the checkpoint has 384"),
        (200, embeddings([1.0] * 384), r"no embeddings \(shape \(1, 384\) for 2 texts"),
        (200, embeddings([1.0] * 384, [0.0] * 384), "no embeddings"),
        (200, embeddings([1.0] * 384, [1.0]), "no embeddings"),
        (200, b"<html>Log in</html>", "no embeddings"),
        (200, b'{"data": []}', "no embeddings"),
        (200, b'{"choices": []}', "no embeddings"),
    ],
)
def test_answer_that_cannot_be_compared_is_told_of(memos: Path, answer_with, status: int, body: bytes, words: str):
    with pytest.raises(ServingError, match=words):
        check_endpoint(answer_with(status, body), "tuned", encoder(memos), QUERIES, [])


def test_variable_without_a_key_is_named_and_a_key_is_not_told(memos: Path, answer_with, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("OUR_KEY", raising=False)
    with pytest.raises(ServingError, match=r"'OUR_KEY', which publishing.endpoint_key_variable names"):
        check_endpoint("http://127.0.0.1:9/v1", "tuned", encoder(memos), QUERIES, [], "OUR_KEY")
    monkeypatch.setenv("OUR_KEY", "sk-4711")
    with pytest.raises(ServingError, match=r"… is unknown") as error:
        url = answer_with(403, b'{"error": {"message": "sk-4711 is unknown"}}')
        check_endpoint(url, "tuned", encoder(memos), QUERIES, [], "OUR_KEY")
    assert "sk-4711" not in str(error.value)


def test_metrics_tell_what_cosines_hide(memos: Path):
    """Each query is the beginning of its document. Where two answer in each other's place, two first places are lost."""
    dev = DevSet(
        "human",
        {str(number): document.text[:80] for number, document in enumerate(DOCUMENTS)},
        {str(number): {document.document_id: 1} for number, document in enumerate(DOCUMENTS)},
        pl.DataFrame({"unit": [document.document_id for document in DOCUMENTS], "passage": PASSAGES[:-1]}),
        [None] * len(DOCUMENTS),
    )
    checkpoint = encoder(memos)
    assert compare_metrics(checkpoint, checkpoint, dev)["agrees"].all()

    class Swaps:
        """Serves two passages under each other's place."""

        encode_queries = checkpoint.encode_queries

        def encode_passages(self, texts):
            return checkpoint.encode_passages([texts[1], texts[0], *texts[2:]])

    compared = compare_metrics(checkpoint, Swaps(), dev)
    first = compared.row(by_predicate=pl.col("metric") == "ndcg@1", named=True)
    assert first["checkpoint"] - first["endpoint"] == pytest.approx(2 / len(DOCUMENTS)) and not first["agrees"]
    assert compared.filter(metric="recall@10")["agrees"].item()


def test_a_model_of_a_hub_is_the_one_of_its_commit(tmp_path, monkeypatch):
    commits = cache_of_hub(tmp_path, monkeypatch, "organisation/model")  # of which there is no other
    shutil.copytree(locate_model(MODEL), commits / PINNED)
    base = BaseModelSettings(name="organisation/model", revision=PINNED, max_tokens=16)
    endpoint = EndpointEncoder("http://localhost:1/v1", "tuned", base, base.name)
    assert (endpoint.settings.query_prompt, endpoint.settings.passage_prompt) == ("", "")


@pytest.mark.slow
def test_served_model_agrees_with_its_folder_also_on_texts_that_are_too_long(memos: Path, server: VllmServer):
    found = check_endpoint(server.url(), "tuned", encoder(memos), QUERIES, PASSAGES)
    assert found.texts == len(QUERIES) + len(PASSAGES)
    assert LEAST_SERVED_COSINE < found.least <= found.mean <= 1 + 1e-6


@pytest.mark.slow
def test_prompts_are_put_in_front_here(memos: Path, server: VllmServer):
    prompts = {"query_prompt": "query: ", "passage_prompt": "passage: "}
    assert check_endpoint(server.url(), "tuned", encoder(memos, **prompts), QUERIES, PASSAGES).least > LEAST_SERVED_COSINE
    without = EndpointEncoder(server.url(), "tuned", BaseModelSettings(), MODEL).encode_queries(QUERIES)
    cosines = (without * encoder(memos, **prompts).encode_queries(QUERIES)).sum(axis=1)
    assert cosines.max() < LEAST_SERVED_COSINE


@pytest.mark.slow
def test_another_model_with_as_many_dimensions_is_noticed(memos: Path, server: VllmServer, tmp_path: Path):
    import torch

    model = load_sentence_transformer(BaseModelSettings(), "cpu")
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.01 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1))
    model.save_pretrained(str(tmp_path / "other"), safe_serialization=True)
    found = check_endpoint(server.url(), "tuned", encoder(memos, str(tmp_path / "other")), QUERIES, PASSAGES)
    assert found.least < found.mean < LEAST_SERVED_COSINE


@pytest.mark.slow
def test_unknown_model_is_named(memos: Path, server: VllmServer):
    with pytest.raises(ServingError, match=r"'other' \(HTTP 404: .*publishing.endpoint_model"):
        check_endpoint(server.url(), "other", encoder(memos), QUERIES, [])
