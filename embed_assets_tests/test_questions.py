import polars as pl
import pytest

from embed_assets.chunking import chunk_documents, load_tokenizer
from embed_assets.documents import Document
from embed_assets.models.encoders import Encoder
from embed_assets.models.hardware import Compute
from embed_assets.questions import (
    PAIR_SCHEMA,
    Prompt,
    PromptError,
    filter_pairs,
    find_identifiers,
    load_prompts,
    normalize_query,
    take_lookups,
)
from embed_assets.settings import BaseModelSettings, ChunkingSettings, QuestionsSettings

PATTERNS = QuestionsSettings().identifier_patterns
BASE_MODEL = BaseModelSettings(max_tokens=64)
DOCUMENTS = [
    Document(
        "pump.md", "Pump", "The pump runs dry when the float switch sticks. Error E4012 is shown on the panel until it is reset."
    ),
    Document(
        "filter.md", "Filter", "Rinse the filter with warm water every month. A clogged filter raises the pressure above 2.5 bar."
    ),
    Document(
        "valve.md", "Valve", "Close the valve by hand before you remove the housing. Use --dry-run to test the valve motor first."
    ),
    Document(
        "bread.md", "Bread", "Bread dough rises faster in a warm kitchen. Bake the loaf at 250 degrees until the crust is brown."
    ),
    Document(
        "printer.md",
        "Printer",
        "Bug PRT-7719 stops large print jobs after the clock change. Restart the spooler service to go on.",
    ),
    Document(
        "orchestra.md",
        "Orchestra",
        "The orchestra tunes to the oboe before each concert. The strings follow after the wind players.",
    ),
    Document(
        "bicycle.md",
        "Bicycle",
        "A cyclist must ring the bell before overtaking pedestrians. Lights are required from dusk till dawn.",
    ),
    Document(
        "garden.md", "Garden", "Plant the tulip bulbs in autumn before the first frost. Water them only when the soil is dry."
    ),
    Document("tax.md", "Tax", "The annual tax return is due at the end of July. Receipts must be kept for seven years by law."),
    Document(
        "comet.md", "Comet", "The comet passes the sun once in seventy-six years. Its tail always points away from the sun."
    ),
    Document(
        "coffee.md", "Coffee", "Grind the coffee beans just before brewing. Water that is too hot makes the coffee taste bitter."
    ),
    Document(
        "chess.md", "Chess", "A pawn that reaches the last rank is promoted to a queen. Castling protects the king early on."
    ),
]


@pytest.fixture(scope="module")
def cut():
    tokenizer = load_tokenizer(BASE_MODEL.name)
    return lambda documents, **settings: chunk_documents(documents, ChunkingSettings(**settings), tokenizer)


@pytest.fixture(scope="module")
def chunks(cut) -> pl.DataFrame:
    return cut(DOCUMENTS)


@pytest.fixture(scope="module")
def encoder(tmp_path_factory) -> Encoder:
    return Encoder(BASE_MODEL, tmp_path_factory.mktemp("memos"), compute=Compute(device="cpu"))


@pytest.mark.parametrize(
    ("text", "identifiers"),
    [
        ("Bug PRT-7719 was fixed together with NXSA-2026-004.", ["PRT-7719", "NXSA-2026-004"]),
        ("CVE-2021-44228 lets an attacker run code.", ["CVE-2021-44228"]),
        ("Run it with --dry-run or --keep-days=30, please.", ["--dry-run", "--keep-days"]),
        ("Release v3.8.1 replaces 3.7 and 10.2b1.", ["v3.8.1", "3.7", "10.2b1"]),
        ("It ends with 0x80070005, E4012 or ERR_TIMEOUT.", ["0x80070005", "E4012", "ERR_TIMEOUT"]),
        ("%LINK-3-UPDOWN: the port went down.", ["%LINK-3-UPDOWN"]),
        ("Set keep_days and maxRetries to zero.", ["keep_days", "maxRetries"]),
        ("First PRT-2, then PRT-1, and PRT-2 once more.", ["PRT-2", "PRT-1"]),
        ("The pump runs dry when the float switch sticks - again.", []),
        ("", []),
    ],
)
def test_identifiers_are_found_once_and_in_order(text, identifiers):
    assert find_identifiers(text, PATTERNS) == identifiers


def test_patterns_of_identifiers_can_be_set():
    assert find_identifiers("Ticket #1234 of PRT-7719", [r"#\d+"]) == ["#1234"]


@pytest.mark.parametrize(
    ("patterns", "identifiers"),
    [
        pytest.param([r"PRT-\d+", r"(?i)err\d+"], ["Err12", "PRT-7"], id="with a flag of its own"),
        pytest.param([r"(PRT)-\d+", r"\b([A-Z])\1\d+"], ["XX99", "PRT-7"], id="with a reference to its own group"),
        pytest.param([r"PRT-\d+", r"\d*"], ["12", "99", "PRT-7"], id="that also matches nothing"),
    ],
)
def test_each_pattern_stands_for_itself(patterns, identifiers):
    settings = QuestionsSettings(identifier_patterns=patterns)
    assert find_identifiers("See Err12, XX99 and PRT-7.", settings.identifier_patterns) == identifiers


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("How do I reset  PRT-7719?!", "how do i reset prt 7719"),
        ("\tGröße:\n3 µm ", "größe 3 µm"),
        ("use --dry-run", "use dry run"),
        ("...", ""),
    ],
)
def test_queries_are_compared_without_case_and_punctuation(text, normal):
    assert normalize_query(text) == normal


@pytest.fixture
def prompts(tmp_path):
    """A folder for prompt files."""
    (tmp_path / "prompts").mkdir()
    return tmp_path / "prompts"


def test_the_prompt_of_the_package_is_a_prompt(tmp_path):
    (prompt,) = load_prompts(["question.jinja"], [tmp_path])
    assert prompt.style == "question"
    text = prompt.render("Pump\nThe pump runs dry.")
    assert text.endswith("Passage: Pump\nThe pump runs dry.\nQuestion:")
    assert "how do i reset a forgotten administrator password on the appliance" in prompt.examples()


def test_the_first_folder_with_the_file_wins(tmp_path, prompts):
    other = tmp_path / "other"
    other.mkdir()
    (prompts / "question.jinja").write_text("Ask about: {{ passage }}")
    (other / "question.jinja").write_text("Never read: {{ passage }}")
    (other / "problem.jinja").write_text("Complain about: {{ passage }}\n\n")
    loaded = load_prompts(["question.jinja", "problem.jinja"], [prompts, other])
    assert [(prompt.style, prompt.render("a <b> & c")) for prompt in loaded] == [
        ("question", "Ask about: a <b> & c"),
        ("problem", "Complain about: a <b> & c"),
    ]


def test_any_edit_of_a_prompt_changes_its_fingerprint():
    assert Prompt("question", "Ask: {{ passage }}").fingerprint == Prompt("other", "Ask: {{ passage }}").fingerprint
    assert Prompt("question", "Ask: {{ passage }}").fingerprint != Prompt("question", "Ask:  {{ passage }}").fingerprint


def test_a_missing_prompt_names_the_places(prompts):
    with pytest.raises(PromptError, match=r"'poem\.jinja' is in none of") as caught:
        load_prompts(["poem.jinja"], [prompts])
    assert str(prompts) in str(caught.value)


@pytest.mark.parametrize(
    ("source", "words"),
    [
        pytest.param("Ask about: {{ text }}", "found ['text']", id="another variable"),
        pytest.param("{{ passage }} {{ title }}", "found ['passage', 'title']", id="one too many"),
        pytest.param("Ask something.", "found none", id="no variable"),
        pytest.param("One\nTwo {{ passage }\nThree", ":2: ", id="syntax error"),
        pytest.param("One\n{% if passage %}\nThree", "if", id="open block"),
        pytest.param("One\nTwo\n{{ passage | shorten_it }}", "shorten_it", id="unknown filter"),
    ],
)
def test_a_wrong_prompt_is_named(prompts, source, words):
    (prompts / "wrong.jinja").write_text(source)
    with pytest.raises(PromptError) as caught:
        load_prompts(["wrong.jinja"], [prompts])
    assert str(caught.value).startswith(str(prompts / "wrong.jinja"))
    assert words in str(caught.value)


def test_a_prompt_that_is_not_utf8_is_named(prompts):
    (prompts / "latin.jinja").write_bytes("Größe: {{ passage }}".encode("latin-1"))
    with pytest.raises(PromptError, match=r"latin\.jinja"):
        load_prompts(["latin.jinja"], [prompts])


def test_lookups_of_each_style_are_taken_from_their_chunk(chunks):
    settings = QuestionsSettings(identifiers_per_chunk=1, keywords_per_chunk=1, sentences_per_chunk=1, titles_per_chunk=1)
    lookups = take_lookups(chunks, settings)
    assert lookups.schema == PAIR_SCHEMA
    texts = {document.document_id: f"{document.title} {document.text}" for document in DOCUMENTS}
    by_style = {style: {} for style in ("identifier", "keyword", "sentence", "title")}
    for style, document_id, query in lookups.select("style", "document_id", "query").iter_rows():
        by_style[style].setdefault(document_id, []).append(query)
        assert [word for word in query.lower().split() if word.strip(".") not in texts[document_id].lower()] == []
    assert {document_id: queries[0].split()[0] for document_id, queries in by_style["identifier"].items()} == {
        "pump.md": "E4012",
        "filter.md": "2.5",
        "valve.md": "--dry-run",
        "printer.md": "PRT-7719",
    }
    for style in ("keyword", "sentence", "title"):
        assert by_style[style].keys() == texts.keys()
        assert {len(queries) for queries in by_style[style].values()} == {1}
    for document in DOCUMENTS:
        assert by_style["sentence"][document.document_id][0] in document.text
        assert by_style["title"][document.document_id][0].startswith(f"{document.title} ")
        assert 3 <= len(by_style["keyword"][document.document_id][0].split()) <= 4
    assert lookups["writer"].unique().to_list() == ["text"] and lookups["dropped"].null_count() == len(lookups)
    assert lookups["query_id"].n_unique() == len(lookups)
    spans = set(chunks.select("document_id", "start", "end").iter_rows())
    assert set(lookups.select("document_id", "start", "end").iter_rows()) == spans


@pytest.mark.parametrize("style", ["identifier", "keyword", "sentence", "title"])
def test_a_style_of_lookups_can_be_left_out(chunks, style):
    lookups = take_lookups(chunks, QuestionsSettings(**{f"{style}s_per_chunk": 0}))
    assert set(lookups["style"]) == {"identifier", "keyword", "sentence", "title"} - {style}


def test_lookups_are_deterministic_and_follow_the_seed(chunks):
    lookups = take_lookups(chunks, QuestionsSettings(seed=1))
    assert lookups.equals(take_lookups(chunks, QuestionsSettings(seed=1)))
    assert lookups.equals(take_lookups(chunks.reverse(), QuestionsSettings(seed=1)))
    assert not lookups.equals(take_lookups(chunks, QuestionsSettings(seed=2)))


def test_a_new_document_does_not_change_the_lookups_of_the_others(cut, chunks):
    """Only which keywords are the most telling may change: they are measured against all documents."""
    new = Document(
        "zebra.md", "Zebra", "Zebras graze near acacias. Lions lurk at XYZ-1 during drought while hyenas wait for leftovers."
    )
    before, after = take_lookups(chunks, QuestionsSettings()), take_lookups(cut([new, *DOCUMENTS]), QuestionsSettings())
    others = after.filter(pl.col("document_id") != "zebra.md")
    assert len(after) > len(others)
    assert others.select("style", "document_id", "start").equals(before.select("style", "document_id", "start"))
    sentences = pl.col("style") == "sentence"
    assert others.filter(sentences).equals(before.filter(sentences))
    first_words = pl.col("query").str.split(" ").list.first()
    identifiers = pl.col("style") == "identifier"
    assert others.filter(identifiers).select(first_words).equals(before.filter(identifiers).select(first_words))


def test_a_limit_on_lookups_is_shared_by_the_documents(cut):
    long = Document("long.md", "Long", "\n\n".join(document.text for document in DOCUMENTS[:9]))
    chunks = cut([long, *DOCUMENTS[9:]], max_tokens=32)
    assert chunks.filter(pl.col("document_id") == "long.md").height >= 9
    settings = QuestionsSettings(
        max_lookups=4, identifiers_per_chunk=0, keywords_per_chunk=0, titles_per_chunk=0, neighbours_per_chunk=0
    )
    assert sorted(take_lookups(chunks, settings)["document_id"]) == ["chess.md", "coffee.md", "comet.md", "long.md"]


def test_text_without_words_gives_no_lookup(cut):
    assert take_lookups(cut([Document("d", "", "... --- ... !!! ??? ... --- ...")]), QuestionsSettings()).is_empty()


def ask(chunks: pl.DataFrame, *queries: tuple[str, str], dropped: str | None = None) -> pl.DataFrame:
    """Pairs from (query, document): the chunk is the first of the document."""
    spans = {row["document_id"]: row for row in chunks.reverse().iter_rows(named=True)}
    rows = [
        (f"{number}", query, "question", document_id, spans[document_id]["start"], spans[document_id]["end"], "me", "", dropped)
        for number, (query, document_id) in enumerate(queries)
    ]
    return pl.DataFrame(rows, schema=PAIR_SCHEMA, orient="row")


def test_the_round_trip_keeps_what_finds_its_chunk_and_drops_what_does_not(chunks, encoder):
    pairs = ask(
        chunks,
        ("why does the pump run dry", "pump.md"),
        ("how do I make an espresso less bitter", "coffee.md"),
        ("PRT-7719", "printer.md"),
        ("how is a pawn promoted to a queen", "pump.md"),
        ("PRT-7719", "chess.md"),
    )
    filtered = filter_pairs(pairs, chunks, encoder, QuestionsSettings(round_trip_top_k=2))
    assert filtered["dropped"].to_list() == [None, None, None, "not in the first 2", "not in the first 2"]
    assert filtered["rank"].to_list()[:3] == [1, 1, 1]
    assert all(2 < rank <= 12 for rank in filtered["rank"].to_list()[3:])
    assert filtered.drop("dropped", "rank").equals(pairs.drop("dropped"))


def test_repeated_queries_are_marked(chunks, encoder):
    pairs = ask(
        chunks,
        ("why does the pump run dry", "pump.md"),
        ("Why does the PUMP run dry?", "pump.md"),
        ("rinse the filter", "filter.md"),
        ("why does the pump run dry", "filter.md"),
    )
    filtered = filter_pairs(pairs, chunks, encoder, QuestionsSettings(round_trip_top_k=12))
    assert filtered["dropped"].to_list() == [None, "repeated", None, None]
    assert filtered["rank"][1] is None


def test_a_query_that_was_dropped_before_stays_dropped_and_is_not_ranked(chunks, encoder):
    refused = ask(chunks, ("why does the pump run dry", "pump.md"), dropped="speaks of the passage")
    filtered = filter_pairs(refused, chunks, encoder, QuestionsSettings())
    assert filtered.select("dropped", "rank").rows() == [("speaks of the passage", None)]


def test_a_query_is_no_repetition_of_one_that_was_dropped(chunks, encoder):
    """The language model copies a sentence, which is refused; the look-up by that sentence comes after it."""
    sentence = "The pump runs dry when the float switch sticks."
    copied, taken = ask(chunks, (sentence, "pump.md"), dropped="copy of the passage"), ask(chunks, (sentence, "pump.md"))
    filtered = filter_pairs(pl.concat([copied, taken]), chunks, encoder, QuestionsSettings())
    assert filtered["dropped"].to_list() == ["copy of the passage", None]


def test_without_a_round_trip_nothing_is_ranked(chunks, encoder):
    pairs = ask(chunks, ("when do I hand in my tax return", "pump.md"), ("When do I hand in my tax return?", "pump.md"))
    filtered = filter_pairs(pairs, chunks, encoder, QuestionsSettings(round_trip_top_k=0))
    assert filtered.select("dropped", "rank").rows() == [(None, None), ("repeated", None)]


def test_no_pair_gives_no_pair(chunks, encoder):
    filtered = filter_pairs(ask(chunks), chunks, encoder, QuestionsSettings())
    assert filtered.is_empty() and filtered.columns == [*PAIR_SCHEMA, "rank"]


def test_neighbour_lookup_is_a_sentence_of_another_chunk_of_the_document(cut):
    text = "The pump starts when the float switch closes.\n\nThe basin holds forty litres of water at most.\n\n" * 3
    chunks = cut([Document("pump.md", "Pump", text), *DOCUMENTS], max_tokens=16)
    lookups = take_lookups(chunks, QuestionsSettings()).filter(pl.col("style") == "neighbour")
    texts = {(name, start): chunk for name, start, chunk in chunks.select("document_id", "start", "text").iter_rows()}
    found = lookups.filter(pl.col("document_id") == "pump.md").select("query", "start").rows()
    assert found
    for query, start in found:
        others = [chunk for (name, other), chunk in texts.items() if name == "pump.md" and other != start]
        assert any(query in chunk for chunk in others)
