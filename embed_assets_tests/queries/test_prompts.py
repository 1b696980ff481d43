import time
from pathlib import Path

import pytest

from embed_assets.queries import prompts
from embed_assets.queries.prompts import TASK_VARIABLES, Prompt, PromptError, load_prompt, load_question_prompts
from embed_assets.queries.settings import QuestionsSettings

SHIPPED = sorted(path.name for path in (Path(prompts.__file__).parent / "prompts").iterdir())
STYLES = [name for name in SHIPPED if name not in TASK_VARIABLES]
PUMP, VALVE = "Pump\nThe pump runs dry.", "Valve\nClose it by hand."
BATCH = {
    "passages": [PUMP, VALVE],
    "styles": {"question": 2, "multi_hop": 1},
    "descriptions": {"question": "in one sentence", "multi_hop": "needs both"},
    "written": (),
    "answers": False,
    "context": "",
    "answer": "",
    "reasoning_types": {"factual": 2, "causal": 1},
    "min_complexity": 2,
    "artifacts": "",
    "hops": 0,
}
WHO = {"reader": "a baker at night", "language": ""}


@pytest.fixture
def folder(tmp_path):
    """A folder for prompt files."""
    (tmp_path / "prompts").mkdir()
    return tmp_path / "prompts"


def test_there_are_eight_styles_and_a_prompt_for_each_task():
    assert len(STYLES) == 8 and set(SHIPPED) == {*STYLES, *TASK_VARIABLES}


@pytest.mark.parametrize("file", SHIPPED)
def test_every_prompt_of_the_package_is_a_prompt_with_a_version(tmp_path, file):
    prompt = load_prompt(file, [tmp_path])
    assert f"{prompt.name}.jinja" == file and int(prompt.version) >= 1
    text = prompt.render({"passage": PUMP, "query": "dry pump", "identifier": "E4012", **BATCH, **WHO})
    assert PUMP in text and text == text.strip() and not any(mark in text for mark in ("{{", "{%", "{#", "version 2"))


@pytest.mark.parametrize("file", [*STYLES, "batch.jinja"])
def test_prompts_name_who_asks_and_the_language_of_the_collection_where_it_is_another(file):
    variables = {"passage": PUMP, "identifier": "E4012", **BATCH}
    english = load_prompt(file, []).render(variables | WHO)
    german = load_prompt(file, []).render(variables | WHO | {"language": "German, the language of the passages"})
    assert english.count("a baker at night") == german.count("a baker at night") == 1
    assert "German" not in english and german.count(" in German, the language of the passages.") == 1
    assert english.count("\n\n") == german.count("\n\n")


@pytest.mark.parametrize("file", SHIPPED)
def test_prompts_are_about_documents_of_any_kind(file):
    instruction = load_prompt(file, []).source.split("\n\n")[0].lower()
    assert not any(word in instruction for word in ("technical", "engineer", "documentation", "manual"))


@pytest.mark.parametrize(
    ("file", "end"),
    [
        ("question.jinja", f"\n\nPassage: {PUMP}\nQuestion:"),
        ("how_to.jinja", f"\n\nPassage: {PUMP}\nHow-to:"),
        ("identifier_question.jinja", f"\n\nPassage: {PUMP}\nIdentifier: E4012\nQuestion:"),
        ("multi_hop.jinja", f"\n\nPassage: {PUMP}\nPassage: {VALVE}\nQuestion:"),
        ("answerable.jinja", f"\n\nPassage: {PUMP}\nQuestion: dry pump\nAnswer:"),
        ("artifacts.jinja", f"\n\nPassage: {PUMP}\nJSON:"),
    ],
)
def test_a_prompt_ends_where_the_answer_follows(file, end):
    variables = {"passage": PUMP, "passages": [PUMP, VALVE], "identifier": "E4012", "query": "dry pump"} | WHO
    text = load_prompt(file, []).render(variables)
    assert text.endswith(end)
    # The examples before it have the same form.
    assert text.count(f"\n{end.rpartition(chr(10))[2]} ") >= 1


def test_the_batch_prompt_numbers_the_passages_and_counts_the_styles():
    text = load_prompt("batch.jinja", []).render(BATCH | WHO)
    assert f"\nPassage 1:\n{PUMP}\n\nPassage 2:\n{VALVE}\n" in text
    assert '\nWrite these queries:\n- 2 of the style "question"\n- 1 of the style "multi_hop"\n' in text
    assert "\nThe styles:\n- question: in one sentence\n- multi_hop: needs both\n\nRules:" in text
    assert "reasoning type: of 2 factual, 1 causal." in text and "at least 2." in text and "\n\n\n" not in text


def test_artifacts_stand_in_the_batch_prompt_only_where_there_are_any():
    prompt = load_prompt("batch.jinja", [])
    assert "speak of" not in prompt.render(BATCH | WHO)
    text = prompt.render(BATCH | WHO | {"artifacts": "terms: float switch"})
    assert "\nWhat the passages speak of:\nterms: float switch\n\nWrite these queries:\n" in text


@pytest.mark.parametrize(
    ("first_line", "version"),
    [
        ("{#- version 2 -#}", "2"),
        ("{# version 1.3 #}", "1.3"),
        ("{#version 4#}", "4"),
        pytest.param("{#- version 2-#}", "2"),
        ("{# our own prompt #}", ""),
        ("Ask a question.", ""),
    ],
)
def test_the_first_line_may_state_a_version(first_line, version):
    assert Prompt("question", f"{first_line}\nPassage: {{{{ passage }}}}\n{{# version 9 #}}").version == version


def test_the_first_folder_with_the_file_wins(tmp_path, folder):
    other = tmp_path / "other"
    other.mkdir()
    (folder / "question.jinja").write_text("Ask about: {{ passage }}")
    (other / "question.jinja").write_text("Never read: {{ passage }}")
    (other / "problem.jinja").write_text("Complain about: {{ passage }}\n\n")
    loaded = [load_prompt(file, [folder, other]) for file in ("question.jinja", "problem.jinja", "how_to.jinja")]
    assert [prompt.name for prompt in loaded] == ["question", "problem", "how_to"]
    assert [prompt.render({"passage": "a <b> & c"}) for prompt in loaded[:2]] == [
        "Ask about: a <b> & c",
        "Complain about: a <b> & c",
    ]
    assert "asks to get something done" in loaded[2].source


@pytest.mark.parametrize("comment", ["{#- version 2, reworded -#}\n", "{# by Ada #}\n", "  {# by Ada #}\n"])
def test_a_comment_changes_the_fingerprint_but_not_the_text(comment):
    before = load_prompt("question.jinja", [])
    after = Prompt("question", comment + before.source)
    assert before.render(WHO | {"passage": PUMP}) == after.render(WHO | {"passage": PUMP})
    assert before.fingerprint != after.fingerprint


def test_the_fingerprint_is_that_of_the_source():
    assert Prompt("question", "Ask: {{ passage }}").fingerprint == Prompt("other", "Ask: {{ passage }}").fingerprint
    assert Prompt("question", "Ask: {{ passage }}").fingerprint != Prompt("question", "Ask:  {{ passage }}").fingerprint


def test_the_lines_of_a_prompt_are_known_as_examples():
    examples = load_prompt("question.jinja", []).examples
    assert "how do i reset a forgotten administrator password on the appliance" in examples
    assert not any("each passage comes from" in example for example in examples)


def test_a_missing_prompt_names_the_places(folder):
    with pytest.raises(PromptError, match=r"'poem\.jinja' is in none of") as caught:
        load_prompt("poem.jinja", [folder])
    assert str(folder) in str(caught.value)


@pytest.mark.parametrize(
    ("file", "source", "words"),
    [
        pytest.param("poem.jinja", "Ask about: {{ text }}", "found text", id="another variable"),
        pytest.param("poem.jinja", "{{ passage }} {{ title }}", "found passage, title", id="one too many"),
        pytest.param("poem.jinja", "Ask something.", "found none", id="no variable"),
        pytest.param("poem.jinja", "Ask about: {{ identifier }}", "found identifier", id="no passage"),
        pytest.param(
            "poem.jinja", "{{ passage }} {{ passages }}", "either 'passage' or 'passages'", id="both passage and passages"
        ),
        pytest.param("batch.jinja", "{{ passages }} {{ styles }}", "min_complexity, passages", id="batch without numbers"),
        pytest.param("judge.jinja", "{{ passage }}", "are answer, passage, query; found passage", id="judge without the query"),
        pytest.param(
            "artifacts.jinja", "{{ passage }} {{ query }}", "are passage; found passage, query", id="unknown one of a task"
        ),
        pytest.param("poem.jinja", "One\nTwo {{ passage }\nThree", ":2: ", id="syntax error"),
        pytest.param("poem.jinja", "One\n{% if passage %}\nThree", "if", id="open block"),
        pytest.param(
            "poem.jinja", "One\nTwo\n{{ passage | shorten_it }}", ":3: No filter named 'shorten_it'", id="unknown filter"
        ),
    ],
)
def test_a_wrong_prompt_is_named(folder, file, source, words):
    (folder / file).write_text(source)
    with pytest.raises(PromptError) as caught:
        load_prompt(file, [folder])
    assert str(caught.value).startswith(str(folder / file))
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("file", "source"),
    [
        ("poem.jinja", "{{ passage }} {{ identifier }} {{ artifacts }}"),
        ("poem.jinja", "{% for passage in passages %}{{ passage }}{% endfor %}"),
        ("batch.jinja", "{{ passages }} {{ styles }} {{ descriptions }} {{ reasoning_types }} {{ min_complexity }}"),
    ],
)
def test_a_prompt_of_ones_own_may_leave_out_what_it_does_not_need(folder, file, source):
    (folder / file).write_text(source)
    assert load_prompt(file, [folder]).source == source


def test_a_prompt_that_is_not_utf8_is_named(folder):
    (folder / "latin.jinja").write_bytes("Größe: {{ passage }}".encode("latin-1"))
    with pytest.raises(PromptError, match=r"latin\.jinja: not UTF-8"):
        load_prompt("latin.jinja", [folder])


@pytest.mark.parametrize(
    ("settings", "names"),
    [
        pytest.param({}, ["question"], id="one style"),
        pytest.param({"styles": {"search": 1, "symptom": 0, "how_to": 0.5}}, ["search", "how_to"], id="no share"),
        pytest.param({"mode": "batch", "styles": {"search": 1}}, ["batch"], id="batch"),
        pytest.param({"extract_artifacts": True}, ["question", "artifacts"], id="extractor"),
        pytest.param({"min_answerability": 0.5}, ["question", "answerable"], id="answerability"),
        pytest.param({"min_judge_score": 7.0}, ["question", "judge"], id="judge"),
        pytest.param(
            {"mode": "batch", "extract_artifacts": True, "min_answerability": 0.5, "min_judge_score": 7.0},
            ["batch", "artifacts", "answerable", "judge"],
            id="everything",
        ),
        pytest.param({"max_questions": 0, "min_judge_score": 7.0, "extract_artifacts": True}, [], id="nothing written"),
        pytest.param({"own_pairs": "replace"}, [], id="own pairs alone"),
        pytest.param({"styles": {"poem": 0, "question": 1}}, ["question"], id="a style without share needs no file"),
    ],
)
def test_only_the_prompts_that_the_settings_need_are_loaded(settings, names):
    loaded = load_question_prompts(QuestionsSettings(**{"styles": {"question": 1}} | settings), [])
    assert list(loaded) == names
    assert [prompt.name for prompt in loaded.values()] == names


def test_a_style_without_a_file_is_an_error():
    with pytest.raises(PromptError, match=r"'poem\.jinja'"):
        load_question_prompts(QuestionsSettings(styles={"poem": 1}), [])


def test_a_description_is_found_in_linear_time_whatever_stands_in_it():
    prompt = Prompt("poem", f"{{#- description: a{' ' * 50_000}poem -#}}\n{{{{ passage }}}}")
    started = time.process_time()
    assert prompt.description == "a poem" and prompt.text == "{{ passage }}"
    assert time.process_time() - started < 1
