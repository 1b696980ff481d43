import re

import polars as pl
import pytest

from embed_assets.corpus.documents import Document
from embed_assets.corpus.spans import CHUNK_SCHEMA
from embed_assets.queries import lookups as lookups_module
from embed_assets.queries.lookups import identifier_coverage, spread_over_documents, take_lookups
from embed_assets.queries.pairs import PAIR_SCHEMA
from embed_assets.queries.settings import QuestionsSettings
from embed_assets.text.identifiers import find_identifiers
from embed_assets.text.settings import IdentifierSettings
from embed_assets_tests.sample_documents import DOCUMENTS

PATTERNS = IdentifierSettings().all_patterns


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
        pytest.param("Die IP-Adresse und SQL-Injection.", []),
        ("", []),
    ],
)
def test_identifiers_are_found_once_and_in_order(text, identifiers):
    assert find_identifiers(text, PATTERNS) == identifiers


def test_patterns_of_identifiers_can_be_set():
    assert find_identifiers("Ticket #1234 of PRT-7719", [r"#\d+"]) == ["#1234"]


def test_extra_patterns_stand_beside_the_others():
    settings = IdentifierSettings(extra_patterns=[r"#\d+"])
    assert find_identifiers("Ticket #1234 of PRT-7719", settings.all_patterns) == ["#1234", "PRT-7719"]
    only = IdentifierSettings(patterns=[r"PRT-\d+"], extra_patterns=[r"#\d+"])
    assert find_identifiers("Ticket #1234 of PRT-7719 in 3.8.1", only.all_patterns) == ["#1234", "PRT-7719"]


@pytest.mark.parametrize(
    ("patterns", "identifiers"),
    [
        pytest.param([r"PRT-\d+", r"(?i)err\d+"], ["Err12", "PRT-7"], id="with a flag of its own"),
        pytest.param([r"(PRT)-\d+", r"\b([A-Z])\1\d+"], ["XX99", "PRT-7"], id="with a reference to its own group"),
        pytest.param([r"PRT-\d+", r"\d*"], ["12", "99", "PRT-7"], id="that also matches nothing"),
    ],
)
def test_each_pattern_stands_for_itself(patterns, identifiers):
    settings = IdentifierSettings(patterns=patterns)
    assert find_identifiers("See Err12, XX99 and PRT-7.", settings.all_patterns) == identifiers


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
    assert lookups["writer"].unique().to_list() == ["text"] and lookups["prompt"].unique().to_list() == [""]
    assert lookups["dropped"].null_count() == lookups["complexity"].null_count() == len(lookups)
    assert lookups["query_id"].n_unique() == len(lookups)
    spans = set(chunks.select("document_id", "start", "end").iter_rows())
    assert set(lookups.select("document_id", "start", "end").iter_rows()) == spans


@pytest.mark.parametrize("style", ["identifier", "keyword", "sentence", "title"])
def test_a_style_of_lookups_can_be_left_out(chunks, style):
    lookups = take_lookups(chunks, QuestionsSettings(**{f"{style}s_per_chunk": 0}))
    assert set(lookups["style"]) == {"identifier", "keyword", "sentence", "title"} - {style}


def test_lookups_by_patterns_of_ones_own(chunks):
    settings = QuestionsSettings(identifiers={"extra_patterns": [r"\b\d+ degrees\b"]})
    lookups = take_lookups(chunks, settings).filter((pl.col("style") == "identifier") & (pl.col("document_id") == "bread.md"))
    assert [query.startswith("250 degrees") for query in lookups["query"]] == [True]


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


def test_any_first_part_of_the_order_is_spread_over_the_documents(cut):
    long = Document("long.md", "Long", "\n\n".join(document.text for document in DOCUMENTS[:6]))
    chunks = cut([long, *DOCUMENTS[6:]], max_tokens=32)
    order = spread_over_documents(chunks, "salt")
    assert sorted(order) == list(range(len(chunks)))
    assert chunks["document_id"].gather(order[:7]).n_unique() == 7
    assert set(chunks["document_id"].gather(order[7:])) == {"long.md"}
    assert order != spread_over_documents(chunks, "pepper")


def test_coverage_counts_the_chunks_and_the_queries_of_each_identifier():
    chunks = pl.DataFrame(
        {
            "document_id": ["notes"] * 4,
            "passage": [
                "PRT-1 is fixed in 3.8.1 and PRT-1 in 3.8.2.",
                "Upgrade to 3.8.1 with --dry-run.",
                "Nothing to see in PRT-2.",
                "Release 3.8.1.",
            ],
        }
    )
    queries = ["which release fixes PRT-1", "PRT-1", "PRT-1", "PRT-1 in 3.8.1?", "upgrade --dry-run", "3.8.9", "no identifier"]
    coverage = identifier_coverage(chunks, pl.DataFrame({"query": queries}), QuestionsSettings())
    assert coverage.rows() == [("--dry-run", 1, 1), ("3.8.2", 1, 0), ("PRT-1", 1, 3), ("PRT-2", 1, 0), ("3.8.1", 3, 1)]


@pytest.mark.parametrize(("text", "queries"), [("No identifier.", ["PRT-1"]), ("PRT-1", [])])
def test_coverage_without_identifiers_or_queries(text, queries):
    pairs = pl.DataFrame({"query": queries}, schema={"query": pl.String})
    coverage = identifier_coverage(pl.DataFrame({"document_id": ["notes"], "passage": [text]}), pairs, QuestionsSettings())
    assert coverage.rows() == ([("PRT-1", 1, 0)] if text == "PRT-1" else [])
    assert list(coverage.schema) == ["identifier", "chunks", "queries"]


def chunk_rows(*rows: tuple[str, int, str, str]) -> pl.DataFrame:
    """Chunks from (document, start, title, text)."""
    full = [
        (f"{name}::{start}", name, start, start + len(text), text, f"{title}\n{text}" if title else text, 1)
        for name, start, title, text in rows
    ]
    return pl.DataFrame(full, schema=CHUNK_SCHEMA, orient="row")


NAMED = chunk_rows(
    ("cookies", 0, "QX-565: Trust in cookies", "A program believes what a cookie says about its visitor, and lets anybody in."),
    ("cookies", 90, "QX-565: Trust in cookies", "Sign the cookie with a secret key before you send it to the browser."),
    ("sessions", 0, "Sessions", "Like QX-565, a session in a hidden field is trusted although the visitor can change it."),
    ("bread", 0, "Bread", "Bake the loaf until the crust is brown and the kitchen smells of it."),
)


@pytest.mark.parametrize("seed", range(4))
def test_a_document_that_is_named_by_an_identifier_gets_the_lookup_for_itself(seed):
    """Its identifier stands in the title alone. What says more of it, or mentions it, comes up with a word beside it."""
    lookups = take_lookups(NAMED, QuestionsSettings(seed=seed)).filter(pl.col("style") == "identifier")
    alone = lookups.filter(pl.col("query") == "QX-565").select("document_id", "start").rows()
    assert alone in ([], [("cookies", 0)])
    first = lookups.filter((pl.col("document_id") == "cookies") & (pl.col("start") == 0))["query"].to_list()
    assert len(first) == 1 and first[0].split()[0] == "QX-565"
    others = lookups.filter((pl.col("document_id") != "cookies") | (pl.col("start") != 0))
    assert sorted(others["document_id"]) == ["cookies", "sessions"]
    assert all(query.startswith("QX-565 ") and len(query.split()) == 2 for query in others["query"])


def test_a_heading_of_several_documents_is_no_lookup_of_any():
    text = "Turn the valve by hand and grease the bearing with a brush."
    pages = {"pump": "Pump > Usage", "press": "Press > Usage", "lamp": "Lamp > Oil", "v1": "Notes > Old", "v2": "Notes > New"}
    chunks = chunk_rows(*((name, 0, heading, text) for name, heading in pages.items()))
    lookups = take_lookups(chunks, QuestionsSettings(titles_per_chunk=9)).filter(pl.col("style") == "title")
    titles = {(document, query.split()[0]) for document, query in lookups.select("document_id", "query").rows()}
    assert titles == {("pump", "Pump"), ("press", "Press"), ("lamp", "Lamp"), ("lamp", "Oil"), ("v1", "Old"), ("v2", "New")}


@pytest.mark.parametrize("seed", range(4))
def test_nobody_looks_for_a_number_alone(seed):
    chunks = chunk_rows(
        ("press", 0, "Press", "Set the pressure to 7.4, or use PRT-7719 with it."),
        ("grease", 0, "Grease", "The bearing wants a grease of class 1.05."),
    )
    lookups = take_lookups(chunks, QuestionsSettings(seed=seed, identifiers_per_chunk=1)).filter(pl.col("style") == "identifier")
    words = take_lookups(chunks, QuestionsSettings(seed=seed)).filter(pl.col("style") == "keyword")["query"]
    assert not {"7.4", "1.05"} & set(" ".join(words).split())
    first = dict(lookups.select("document_id", pl.col("query").str.split(" ")).rows())
    assert first["press"][0] == "PRT-7719" and first["grease"][0] == "1.05" and len(first["grease"]) == 2


def test_coverage_counts_titles():
    coverage = identifier_coverage(NAMED, pl.DataFrame({"query": ["QX-565 cookie"]}), QuestionsSettings())
    assert coverage.rows() == [("QX-565", 3, 1)]


def test_numbers_of_sections_are_no_identifiers_and_not_in_titles():
    care = "Drain the pump before the winter, since ice cracks its housing. Needs release 7.4.1 of the controller."
    chunks = chunk_rows(
        ("manual", 0, "Pump manual > 3 Care > 3.2 Winter", care),
        ("manual", 200, "Pump manual > 3 Care > 3.3 Summer", "See 3.2, and keep the pump in the shade."),
        ("manual", 300, "Pump manual > 4 Storage", "A dry cellar will do."),
    )
    queries = take_lookups(chunks, QuestionsSettings(titles_per_chunk=3))
    of_style = {style: queries.filter(pl.col("style") == style)["query"].to_list() for style in ("identifier", "title")}
    assert of_style["identifier"] and all("7.4.1" in query for query in of_style["identifier"])
    assert any(query.startswith("Winter ") for query in of_style["title"])
    assert not any("3" in query or query.startswith("4") for query in of_style["title"])
    assert identifier_coverage(chunks, queries, QuestionsSettings())["identifier"].to_list() == ["7.4.1"]


WRAPPED = """Restart the supervisor after the upgrade, because the old
process keeps its sockets open for some minutes. Wait
until the light is green before you plug in the second cable.

    show version | include uptime and some more words to make it long

- The first item of the list is wrapped as well, and
  goes on in a second line.

| a table | has cells | that | are | no | sentences |
| --- | --- | --- | --- | --- | --- |
| one | two | three | four | five | six seven |
"""


def test_sentences_of_wrapped_text_are_whole():
    settings = QuestionsSettings(sentences_per_chunk=9)
    lookups = take_lookups(chunk_rows(("page", 0, "Page", WRAPPED)), settings).filter(pl.col("style") == "sentence")
    assert sorted(lookups["query"]) == [
        "Restart the supervisor after the upgrade, because the old process keeps its sockets open for some minutes.",
        "The first item of the list is wrapped as well, and goes on in a second line.",
        "Wait until the light is green before you plug in the second cable.",
    ]


def test_sentences_are_as_a_reader_sees_them():
    text = "Hold the **Reset** key for [five seconds](time.md#s), then call `restart now` for 3*4 s and 2**9 ms.\n"
    settings = QuestionsSettings(sentences_per_chunk=9)
    lookups = take_lookups(chunk_rows(("page", 0, "Page", text)), settings).filter(pl.col("style") == "sentence")
    assert lookups["query"].to_list() == ["Hold the Reset key for five seconds, then call restart now for 3*4 s and 2**9 ms."]


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("Call it with \\*args or \\_one, and pass[^1] all of them\\\non.\n",
         ["Call it with *args or _one, and pass all of them on."]),
        ("- [ ] Take _all_ screws out of the ~~old~~ snake_case __init__ lid.\n",
         ["Take all screws out of the old snake_case __init__ lid."]),
        ("See <https://example.com/a_b> for all of the other valves.\n",
         ["See https://example.com/a_b for all of the other valves."]),
        ("> Type set delay <seconds> on a->b, and then a > b holds.\n",
         ["Type set delay <seconds> on a->b, and then a > b holds."]),
        ("Write #include or cat x | grep y for a list of them.\n",
         ["Write #include or cat x | grep y for a list of them."]),
        ("Der Bürger*innen-Service löscht **alle** anderen Dateien.\n",
         ["Der Bürger*innen-Service löscht alle anderen Dateien."]),
        ("It begins. ![[Image NOT FOUND]](http://example.com/a.png)![Picture](b.png) The rest stands below the picture.\n",
         ["Image NOT FOUND Picture The rest stands below the picture."]),
        ("Name | what it is | what it does | whom to ask\n\n0 1 2 3 4 5 6 7 8 and all others.\n", []),
        ("| E12 | The pump stops after a while. |\n| E13 | The valve is closed for good. |\n\nLook up the code of your pump.\n",
         ["Look up the code of your pump."]),
    ],
)  # fmt: skip
def test_marks_of_markdown_are_no_part_of_a_sentence(text, sentences):
    settings = QuestionsSettings(sentences_per_chunk=9)
    lookups = take_lookups(chunk_rows(("page", 0, "Page", text)), settings).filter(pl.col("style") == "sentence")
    assert lookups["query"].to_list() == sentences


def test_the_middle_of_a_piece_of_code_holds_no_sentence(cut):
    lines = "\n".join(
        f"A{i}[The pump {i} has started and is running] --> B{i}[It stops when the tank is full]" for i in range(40)
    )
    chunks = cut([Document("a.md", "Plan", f"# Plan\n\n```mermaid\n{lines}\n```\n")], max_tokens=64)
    found = take_lookups(chunks, QuestionsSettings(sentences_per_chunk=9, neighbours_per_chunk=9))
    assert len(chunks) > 5 and found.filter(pl.col("style").is_in(["sentence", "neighbour"])).is_empty()


@pytest.mark.parametrize(
    "code",
    [
        "grid.setWidget(indentNum, 0, link); indentNum += 1; app.add(grid); DocumentApp.getUi().showSidebar(app);",
        "%3Bwhile(3%3Emilliseconds.length)%7Bmilliseconds%3D'0'%2Bmilliseconds%3B%7Dtime_array.push(x) %2B(a) b%3D c%3D d%3D",
        "https://example.com/a/very/long/address http://example.com/another/of_them?with=a&query=b (or) http://example.com/x",
        "rm -rf /tmp/pump-cache /var/cache/noxd ~/nox $NOX_HOME",
        "arp,dl_vlan=200, priority 9131, cookie 0x5adc15c0 goto_table:3 in_port=1, ct_state=+trk,ipv6_dst=$Vif42Ip done",
    ],
)
def test_code_and_addresses_outside_of_fences_are_no_sentences(code):
    prose = "Use show acl counters [direction in|out] [interface <if>] to see them all."
    text = f"{code}\n\n{prose}\n\n電源を切ってから、ファンを交換してください。\n"
    settings = QuestionsSettings(sentences_per_chunk=9)
    lookups = take_lookups(chunk_rows(("page", 0, "Page", text)), settings).filter(pl.col("style") == "sentence")
    assert prose in lookups["query"].to_list()
    assert not set(code.split()) & set(" ".join(lookups["query"]).split())


def test_what_nobody_types_is_no_keyword():
    token = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.SflKxwRJSMeKKF2QT4fwpMeJf36POk6yJV"
    name = "org.apache.hadoop.mapreduce.lib.output.FileOutputFormat2"
    text = f"Call the endpoint of {name} with the bearer {token} to list all jobs of the queue."
    chunks = chunk_rows(("page", 0, "Page", text))
    found = take_lookups(chunks, QuestionsSettings(keywords_per_chunk=9, titles_per_chunk=9, identifiers_per_chunk=9))
    keywords = found.filter(pl.col("style").is_in(["keyword", "title", "identifier"]))["query"].str.join(" ").item()
    assert "endpoint" in keywords and name.lower() in keywords.lower() and token.lower() not in keywords.lower()


def test_wrapped_lines_of_chinese_are_joined_without_a_space_but_between_latin_words():
    chunks = chunk_rows(("page", 0, "", "先安装 Docker\nCompose 插件，然后再重新\n启动服务器。\n")).with_columns(
        language=pl.lit("zh")
    )
    lookups = take_lookups(chunks, QuestionsSettings(sentences_per_chunk=9)).filter(pl.col("style") == "sentence")
    assert lookups["query"].to_list() == ["先安装 Docker Compose 插件，然后再重新启动服务器。"]


def test_only_as_many_chunks_are_read_as_lookups_are_kept(monkeypatch):
    """A document of many chunks takes no longer for each than a short one."""
    read = []
    monkeypatch.setattr(lookups_module, "_sentences", lambda text, *_: read.append(text) or ["a sentence of its own"])
    chunks = chunk_rows(*((f"page {n}", 0, "Page", f"Text number {n} of the collection.") for n in range(500)))
    settings = QuestionsSettings(max_lookups=10, identifiers_per_chunk=0, keywords_per_chunk=0, titles_per_chunk=0)
    assert len(take_lookups(chunks, settings)) == 10
    assert len(read) == 10


def test_a_sentence_that_several_documents_have_is_not_looked_for():
    own = [f"Open valve number {n} of the {name} by hand before it starts." for n, name in enumerate(("pump", "fan", "press"))]
    shared = "Switch the power **off** before\nyou open the cover."
    rows = [(f"page {n}", 0, "Page", f"{sentence}\n\n{shared}\n") for n, sentence in enumerate(own)]
    link = "Read all of the [manual](a.md) before **you** open the lid.\n"
    signs = ("Press the key C++ of the remote control twice.\n", "Press the key C of the remote control twice.\n")
    rows += [(f"other {n}", 0, "Page", link + "\n" + sign) for n, sign in enumerate(signs)]
    own += [sign.strip() for sign in signs]
    rows.append(("page 3", 0, "Page", "Turn the key of the press to the left twice.\n"))
    rows.append(("page 3", 50, "Page", "Turn the key of the press to the left twice.\n"))
    found = take_lookups(chunk_rows(*rows), QuestionsSettings(sentences_per_chunk=9, neighbours_per_chunk=9))
    sentences = found.filter(pl.col("style").is_in(["sentence", "neighbour"]))["query"].to_list()
    assert set(sentences) == {*own, "Turn the key of the press to the left twice."}


@pytest.mark.parametrize("path", [True, False])
def test_titles_of_the_parts_of_tables_and_fences_are_titles(cut, path):
    rows = "".join(f"| harbour{number} | {number}.5 m | tide gauge {number} |\n" for number in range(60))
    code = "".join(f"call moor{number}(berth{number})\n" for number in range(60))
    text = f"# Ports\n\n| name | depth | note |\n| --- | --- | --- |\n{rows}\n## Mooring\n\n```basic\n{code}```\n"
    chunks = cut([Document("ports.md", "Ports", text)], max_tokens=48, heading_path=path)
    lookups = take_lookups(chunks, QuestionsSettings(titles_per_chunk=1))
    titles = lookups.filter(pl.col("style") == "title")["query"].to_list()
    assert [title for title in titles if re.search(r"[|`\n]|basic", title)] == []
    ports, mooring = (sum(title.startswith(name) for title in titles) for name in ("Ports", "Mooring"))
    assert (ports > 5 and mooring > 0) == path


def test_a_heading_of_a_text_file_is_no_part_of_the_sentence_below_it():
    text = (
        "2. Storage\nKeep the grease of the bearing in a dry room, where no frost gets. Dial *151# to ask for a\n**20#** one.\n"
    )
    other = "A line that was wrapped at its end since the next word is a\nCyrillicAndLatinNameOfAPumpThatIsLong goes on here.\n"
    chunks = chunk_rows(("a", 0, "", text), ("b", 0, "", other))
    found = take_lookups(chunks, QuestionsSettings(sentences_per_chunk=9)).filter(pl.col("style") == "sentence")
    assert sorted(found["query"]) == [
        " ".join(other.split()),
        "Dial *151# to ask for a 20# one.",
        "Keep the grease of the bearing in a dry room, where no frost gets.",
    ]
