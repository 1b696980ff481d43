"""Settings of hard negatives, of fine-tuning and of export."""

from typing import Annotated, Literal

from pydantic import Field, Strict, model_validator

from embed_assets.artifacts.blocks import AutoOrWeight, Block, Outside, Share, added, operation
from embed_assets.models.settings import REVISION, CrossEncoderSettings, require_a_revision

Dimensions = Annotated[tuple[Annotated[int, Field(ge=1, strict=True)], ...], Strict(False)]

Kind = Literal["dense", "late", "both"]


class TrainingSettings(Block):
    """Contrastive fine-tuning: in-batch and hard negatives (InfoNCE)."""

    kind: Kind = added(
        "dense",
        description="what is trained: dense, the one vector of a text; late, the vectors of its tokens, which late interaction "
        "compares; both, the sum of the two losses in one pass",
    )
    towers: Literal["both", "query"] = added(
        "both",
        description="which of the two encoders are trained: both, which are one model; query, that of queries alone, in the "
        "space of the base model, which goes on encoding passages, so that an index of theirs stays",
    )
    token_dimensions: int = added(
        0,
        ge=0,
        le=4096,
        description="with kind late or both: project the vectors of tokens to so many dimensions, which begins as their "
        "principal components; 0 leaves them as the model has them",
    )
    epochs: float = Field(1.0, gt=0, le=100, description="passes over the triplets")
    batch_size: int = Field(32, ge=2, le=65536, description="queries in a batch; more means more in-batch negatives")
    mini_batch_tokens: int = operation(
        0,
        ge=0,
        description="tokens that are computed at once, with padding: larger batches go through GradCache (arXiv:2101.06983), "
        "which bounds memory and costs time; 0 takes as many as the memory of the device has room for",
    )
    learning_rate: float = Field(5e-5, gt=0, le=1, description="peak learning rate of AdamW")
    warmup_share: Share = Field(0.1, description="share of the steps with a rising learning rate; it then falls as a cosine")
    weight_decay: float = Field(0.01, ge=0, le=1, description="AdamW weight decay")
    temperature: float = Field(0.05, gt=0, le=1, description="temperature of the softmax over cosines; 0.05 is a scale of 20")
    dropout: float | None = Field(0.0, ge=0, lt=1, description="dropout while training; null keeps the model's own")
    mix: dict[str, Annotated[float, Field(ge=0, strict=False)]] = Field(
        {},
        description="shares of sources (own, synthetic, look-up) and styles (question, keyword …) in the examples, such as "
        "{synthetic: 0.5, look-up: 0.5}; a style counts before its source; what is not named is kept whole; empty takes all",
    )
    mix_at_least: int = Field(
        1000,
        ge=0,
        description="where a share has too few examples for its place in mix, it gives all it has, and the others fill up to "
        "this many; above that, the shares hold",
    )
    identifier_answers: int | None = added(
        None,
        ge=1,
        description="look-ups by identifiers that more chunks than this name are not trained on, since nobody could tell which "
        "chunk is meant; null trains on all",
    )
    max_examples: int = Field(100_000, ge=2, description="train on at most this many triplets")
    data_share: float = Field(1.0, gt=0, le=1, description="train on this share of them; a smaller share is part of a larger one")
    hard_negatives: int | None = Field(
        None, ge=0, description="train on the first n of the mined hard negatives; null takes all, 0 only in-batch negatives"
    )
    matryoshka_dimensions: Dimensions = Field(
        (), description="also train the first n dimensions of a vector to do without the rest (arXiv:2205.13147), for each n"
    )
    lora_rank: int = Field(
        0,
        ge=0,
        le=1024,
        description="rank of low-rank adapters (arXiv:2106.09685), trained in place of all weights and merged into them; "
        "they want a higher learning rate; 0 trains all weights",
    )
    merge: AutoOrWeight = Field(
        "auto",
        description="weight of the fine-tuned weights in an average with those of the base model, which forgets less "
        "(LM-Cocktail, arXiv:2311.13534); 1 takes the fine-tuned weights alone, 0 the base model; auto: the best of 0, 0.3, 0.5, "
        "0.7 and 1 by nDCG@10 on dev queries (human ones, else own pairs, else written questions, never look-ups), or what is as "
        "good within a standard error (two by written questions) and nearer to 0.5, but never below the base model, which by "
        "queries of people has to be beaten by a standard error, and no more than 0.5 by written questions; 0.5 where there are "
        "fewer than 30",
    )
    gradient_checkpointing: bool = Field(False, description="compute activations twice instead of keeping them in memory")
    early_stopping: int = Field(
        0,
        ge=0,
        description="stop after n evaluations, four in each epoch, without a better nDCG@10 on dev queries (a smaller dev loss, "
        "where fewer than 30 are no look-ups), and keep the best model; 0 trains to the end and keeps the last",
    )
    checkpoints: int = operation(
        4, ge=1, le=100, description="how often the state is saved for resuming, if it does not take a tenth of the time"
    )
    seed: int = Field(13, ge=0, description="seed of shuffling and dropout")

    @model_validator(mode="after")
    def _trains_what_is_there(self) -> "TrainingSettings":
        if self.towers == "query" and self.kind != "dense":
            raise ValueError("towers: query keeps the one vector of each passage, so it needs kind: dense")
        if self.token_dimensions and self.kind == "dense":
            raise ValueError("token_dimensions needs kind: late or both; set it to 0")
        if self.matryoshka_dimensions and self.kind == "late":
            raise ValueError("matryoshka_dimensions are of the one vector of a text, which kind: late does not train")
        return self


class NegativesSettings(Block):
    """Hard negatives, mined from hybrid retrieval (BM25 and the base model)."""

    per_query: int = Field(5, ge=1, le=50, description="hard negatives for each query")
    top_k: int = Field(50, ge=2, le=1000, description="negatives come from the first k chunks")
    cut_sentences: bool = Field(
        True,
        description="take a sentence query out of its positive, so that more than its words is learnt (arXiv:1906.00300)",
    )
    margin: float = Field(
        0.95,
        gt=0,
        le=1,
        description="a negative scores at most this share of the positive (TopK-PercPos of NV-Retriever, arXiv:2407.15831)",
    )
    cross_encoder: str = Field(
        "",
        description="a cross-encoder, named as base_model.name, that reads the candidates: those to which it gives more than the "
        "share 'margin' of the positive's probability of relevance are taken for answers and dropped; empty: none",
    )
    cross_encoder_tokens: int = Field(256, ge=16, le=32768, description="longest query and passage together, in tokens")
    trust_remote_code: Annotated[bool, Outside("remote_code", "cross_encoder", "cross_encoder_revision")] = Field(
        False, description="run Python code that comes with the cross-encoder"
    )
    cross_encoder_revision: str = Field("", description=REVISION)
    own_triplets: Literal["join", "replace", "ignore"] = added(
        "join",
        description="what triplets.jsonl, triplets.parquet and train.json with val.json of the collection do with the others; of "
        "their negatives the first per_query are taken, and what is missing is mined",
    )
    second_round: bool = Field(
        False, description="fine-tune a draft on these negatives and mine again with it, for harder ones (ANCE, arXiv:2007.00808)"
    )
    draft: TrainingSettings = Field(
        TrainingSettings(), description="how the draft of the second round is trained; merge: auto does not merge it"
    )

    @model_validator(mode="after")
    def _runs_known_code(self) -> "NegativesSettings":
        require_a_revision(self.cross_encoder or ".", self.cross_encoder_revision, self.trust_remote_code)
        return self


class RerankerSettings(CrossEncoderSettings):
    """The re-ranker: a cross-encoder, fine-tuned on queries with their positives, hard negatives and random passages."""

    hard_negatives: int = Field(5, ge=1, le=50, description="the first n mined negatives of each query, if there are as many")
    random_negatives: int = Field(2, ge=0, le=50, description="passages of other queries beside them, for each query")
    epochs: float = Field(1.0, gt=0, le=100, description="passes over the queries")
    batch_size: int = Field(8, ge=1, le=65536, description="queries in a batch, each with all its passages")
    learning_rate: float = Field(
        1e-4, gt=0, le=1, description="peak learning rate of AdamW; a new head wants more than a cross-encoder, which takes 2e-5"
    )
    warmup_share: Share = Field(0.1, description="share of the steps with a rising learning rate; it then falls as a cosine")
    dropout: float | None = Field(0.0, ge=0, lt=1, description="dropout while training; null keeps the model's own")
    max_examples: int = Field(100_000, ge=2, description="train on at most this many triplets")
    checkpoints: int = operation(
        4, ge=1, le=100, description="how often the state is saved for resuming, if it does not take a tenth of the time"
    )
    seed: int = Field(13, ge=0, description="seed of the new head, of the random passages, of shuffling and of dropout")


class ExportSettings(Block):
    """ONNX files."""

    opset: int = Field(20, ge=18, le=23, description="ONNX operator set")
    fp16: bool = Field(False, description="also write a float16 model, for GPUs; on a CPU it is slower than float32")
    int8: bool = Field(True, description="also write a dynamically quantized int8 model")
    per_channel: bool = Field(True, description="quantize weights per channel, which is more exact than per tensor")
    parity_chunks: int = Field(64, ge=1, le=10_000, description="chunks on which ONNX is compared with torch")
    score_int8: bool = Field(True, description="score the int8 model on the evaluation set")
