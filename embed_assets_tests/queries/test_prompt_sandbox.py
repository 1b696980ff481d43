import time
from pathlib import Path

import pytest

from embed_assets.queries.prompts import Prompt, PromptError, load_prompt

VARIABLES = {"passage": "The fan rattles." * 100}
SHELL = "__init__.__globals__['os'].popen('touch {}').read()"


@pytest.mark.parametrize(
    "attack",
    [
        "{{ passage.__class__.__mro__[1].__subclasses__() }}",
        "{{ ''.__class__.__base__.__subclasses__()[0].SHELL }}",
        "{{ cycler.SHELL }}",
        "{{ self.SHELL }}",
        "{{ lipsum.__globals__.os.system('touch {}') }}",
        "{{ (passage | attr('__class__')) }}",
        "{% for i in range(10**9) %}x{% endfor %}",
        "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}",
        "{{ 'x' * 10**10 }}",
        "{{ passage.ljust(10**10) }}",
        "{{ passage.ljust(9999999999) }}",
        "{{ '{:>9999999999}'.format(passage) }}",
        "{{ '%9999999999s' % passage }}",
        "{{ passage['for' ~ 'mat']('{:>9999999999}') }}",
        "{{ passage | join(passage) | join(passage) }}",
        "{{ passage | center(9999999999) }}",
        "{{ passage | replace('', passage) }}",
        "{% set a = passage ~ passage %}" + "{% set a = a ~ a %}" * 40 + "{{ a }}",
        "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
        "{% for a in passage %}{% for b in passage %}{% for c in passage %}{% endfor %}{% endfor %}{% endfor %}",
    ],
)
def test_an_attack_of_a_prompt_file_ends_at_once_and_changes_nothing(tmp_path, attack):
    proof = tmp_path / "proof"
    source = attack.replace("SHELL", SHELL).replace("{}", str(proof)) + "{{ passage }}"
    (tmp_path / "attack.jinja").write_text(source)
    begin = time.monotonic()
    with pytest.raises(PromptError):
        load_prompt("attack.jinja", [tmp_path]).render(VARIABLES)
    assert time.monotonic() - begin < 5
    assert not proof.exists()


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("{{ " + "(" * 3000 + "passage" + ")" * 3000 + " }}", "nested too deeply"),
        ("{{ passage" + " | trim" * 3000 + " }}", "nested too deeply"),
        ("{{ passage }}" * 6000, "more than 5,000"),
        ("{{ passage }}" * 20_000, "larger than 200,000 bytes"),
        ("{{ passage | dictsort }}", "'str' object has no attribute 'items'"),
        ("{{ passage[0 : passage] }}", "slice indices"),
    ],
    ids=range(6),
)
def test_whatever_a_prompt_file_is_made_of_it_is_named(tmp_path, source, words):
    (tmp_path / "odd.jinja").write_text(source)
    begin = time.monotonic()
    with pytest.raises(PromptError, match=words) as caught:
        load_prompt("odd.jinja", [tmp_path]).render(VARIABLES)
    assert time.monotonic() - begin < 5 and "odd" in str(caught.value)


def test_a_prompt_that_an_editor_saved_with_a_byte_order_mark_has_its_version(tmp_path):
    (tmp_path / "own.jinja").write_text("{#- version 4 -#}\nAsk about {{ passage }}", encoding="utf-8-sig")
    prompt = load_prompt("own.jinja", [tmp_path])
    assert prompt.version == "4" and prompt.render({"passage": "fans"}) == "Ask about fans"


def test_a_prompt_that_grows_beyond_all_measure_is_refused():
    prompt = Prompt("long", "{% for a in passage %}{{ passage }}{% endfor %}")
    with pytest.raises(PromptError, match="longer than 1,000,000 characters"):
        prompt.render({"passage": "x" * 2000})


def test_what_prompts_use_still_works(tmp_path: Path):
    (tmp_path / "own.jinja").write_text(
        "{% for word in passage.split() if word | length > 3 %}"
        "{{ loop.index }} {{ word.upper() | replace('RATT', 'Ratt') }} {% endfor %}"
    )
    assert load_prompt("own.jinja", [tmp_path]).render({"passage": "the fan rattles loudly"}) == "1 RattLES 2 LOUDLY"
