"""Markdown as wikis, documentation sites and note books write it."""

import time

import pytest

from embed_assets_tests.corpus.readers.test_conversion import read


@pytest.mark.parametrize(
    ("source", "text", "notes"),
    [
        ("See [[Pump]], [[Pump#Oil|its oil]] and ![[plan.png]].", "See Pump, its oil and .", ("embedded pages left out (1)",)),
        ("[[cs|C# guide]], [[C#]], [[#Oil]], m[[1, 2]], [[1]][a].", "C# guide, C#, Oil, m[[1, 2]], [[1]][a].", ()),
        ("(==) and (==), `f`(x)= 2\n(y)= 3", "(==) and (==), `f`(x)= 2\n(y)= 3", ()),
        ("??? Why not\n!!! Do not touch\n\n!!! deprecated\n    Old.", "??? Why not\n!!! Do not touch\n\nDeprecated\nOld.", ()),
        ("```one line```\n:::note\nx\\-y\n:::\n", "```one line```\nNote\nx-y\n", ()),
        ("1. A\n\n    ```\n    !!! note\n        x\n    ```", "1. A\n\n    ```\n    !!! note\n        x\n    ```", ()),
        ("```{figure} a/pump.png\n:alt: A pump\n\nIn parts.\n```", "\nA pump\n\nIn parts.", ()),
        ("> [!WARNING]\n> Hot.\n\n> [!tip]- Cold start\n> Wait.", "> Warning\n> Hot.\n\n> Cold start\n> Wait.", ()),
        ("A ==bright== lamp, a == b, press ++ctrl+c++ in C++ or g++.", "A bright lamp, a == b, press ctrl+c in C++ or g++.", ()),
        ("::: {.warning #a}\nHot.\n:::\n\n:::tip My tip\nUse it.\n:::\n", "\nHot.\n\nMy tip\nUse it.\n", ()),
        ("::::note[Outer]\n:::tip\nIn.\n:::\nOut.\n::::\nEnd.", "Outer\nTip\nIn.\nOut.\nEnd.", ()),
        ("# Pump {#pump .unlisted}\n\n[a span]{.x} `c`{.py} {: .y}\nand {name}.", "# Pump\n\na span `c`\nand {name}.", ()),
        (
            "(at)=\n```{note}\n:class: x\nSee {ref}`the end <end>` or {doc}`/a`.\n```\n\n"
            "```{code-block} sh\n:caption: Try\nrun {x}\n```",
            "Note\nSee the end or /a.\n\nTry\n```sh\nrun {x}\n```",
            (),
        ),
        ("Set `{serial}`, `{model}` or {x}, and `a {b}` `c`.", "Set `{serial}`, `{model}` or {x}, and `a {b}` `c`.", ()),
        ("1. A\n\n      ```\n      [[a]] <b>x a\\-b\n      ```\n", "1. A\n\n      ```\n      [[a]] <b>x a\\-b\n      ```\n", ()),
        ("Do:\n\n    [[a]] <b> a\\-b\n\n    {% c %}\n\nx\\-y", "Do:\n\n    [[a]] <b> a\\-b\n\n    {% c %}\n\nx-y", ()),
        ("- Do\n\n    x\\-y and [[ -d A ]]", "- Do\n\n    x-y and [[ -d A ]]", ()),
        ("```{toctree}\n:maxdepth: 1\na\n```\nText.", "Text.", ("directive toctree left out (1)",)),
        (":::{code-block} sh\nrun :::\n:::\nText.", "```sh\nrun :::\n```\nText.", ()),
        ("```md\n:::note\n[[a]] {% b %}\n```\n`[[a]] {{< b >}}`", "```md\n:::note\n[[a]] {% b %}\n```\n`[[a]] {{< b >}}`", ()),
        (
            '{{< note title="Mind" >}}\nHot.\n{{< /note >}}\n{{< highlight go >}}\nx := 1\n{{< /highlight >}}',
            "Mind\nHot.\n\n```go\nx := 1\n```",
            ("short codes left out (2)",),
        ),
        (
            "{% include a.html %}{% raw %}{{ x }}{% endraw %}\n{% highlight sh %}\nrun\n{% endhighlight %}\n"
            "{% comment %} no {% endcomment %}5% off%",
            "{{ x }}\n```sh\nrun\n```\n5% off%",
            ("template tags left out (3)",),
        ),
        (
            '!!! note "Mind"\n    It is hot.\n\n        code\n\nAfter.\n\n'
            '=== "Linux"\n\n    ??? tip\n        Run.\n\nSetext\n===\n',
            "Mind\nIt is hot.\n\n    code\n\nAfter.\n\nLinux\n\nTip\nRun.\n\nSetext\n===\n",
            (),
        ),
        ('--8<-- "a.md"\nText.\n\n[TOC]\n', "Text.\n\n", ("embedded pages left out (1)",)),
        (
            "Use 3\\.5 \\<name\\> of a\\-b, x\\[0\\], 5 \\* 3.\n1\\. no item\n\\# none",
            "Use 3.5 <name> of a-b, x[0], 5 * 3.\n1. no item\n\\# none",
            (),
        ),
        (
            "# A\n\n- [B](#b)\n  - [C `d`](#c-(d))\n\n- [E](#e)\n\n## B\n\n- [E](#e)\n\n1. [B](#b) and\n2. [E](#e) more\n",
            "# A\n\n## B\n\n- [E](#e)\n\n1. [B](#b) and\n2. [E](#e) more\n",
            ("tables of contents left out (1)",),
        ),
        ("```\n- [B](#b)\n- [E](#e)\n```\n- [B](b.md)\n- [E](#e)", "```\n- [B](#b)\n- [E](#e)\n```\n- [B](b.md)\n- [E](#e)", ()),
        (
            "- [a](b.md) before [B](#b)\n- [ ] as in [E](#e)\n\n# B\n\n- [B](#b)\n- [E](#e)\n- [F](#f), too\n",
            "- [a](b.md) before [B](#b)\n- [ ] as in [E](#e)\n\n# B\n\n- [B](#b)\n- [E](#e)\n- [F](#f), too\n",
            (),
        ),
        ("1. [B](#b)\n2. [E](#e)\n   Grease it.\n", "1. [B](#b)\n2. [E](#e)\n   Grease it.\n", ()),
        ("$\\sqrt[3]{x=2}$", "$\\sqrt[3]{x=2}$", ()),
        ("[[toc]]\n* TOC\n{:toc}\n1. toc\n{: toc .big}\nText.", "Text.", ()),
        (
            '{{% tab "Linux" %}}\nRun.\n{{< tab name="macOS" lang="sh" >}}\n{{% tab header="BSD" %}}\n{{< ref "a.md" >}}',
            "Linux\nRun.\nmacOS\nBSD\n",
            ("short codes left out (4)",),
        ),
        (
            "-   :material-fan:{ .lg } __Fans__ :x: ![a fan](a.png){ width=\"3\" loading=lazy }\n{x=1}",
            "-   __Fans__ :x: ![a fan](a.png)\n{x=1}",
            (),
        ),
        (
            ':::image type="content" source="a.png" alt-text="The pane." lightbox="a.png":::\n\nIn :::no-loc text="Acme":::\n'
            '::: moniker range=">=2"\nNew.\n::: moniker-end\n:::zone pivot="cli"\nRun.\n:::zone-end\n'
            ':::code language="js" source="a.js":::\n::: warning\nHot.\n:::',
            "The pane.\n\nIn Acme\nNew.\nRun.\n\nWarning\nHot.",
            ("embedded pages left out (1)",),
        ),
        (
            "[!INCLUDE [n](../n.md)]\n\n# [Linux](#tab/linux)\n\nOf <xref:Acme.Fan?text=x>.\n\n"
            "> [!div class=\"next\"]\n> Go on\n\n[!CODE-csharp[M](a.cs#L1)] <xref href=\"Acme.Pump\"/>\n[[_TOSP_]]\n",
            "\n\nLinux\n\nOf Acme.Fan.\n\n> Go on\n\n Acme.Pump\n",
            ("embedded pages left out (2)",),
        ),
        (
            "::: row\nHot.\n:::\n:::row:::\n:::column span=\"2\":::\nCold.\n:::column-end:::\n:::row-end:::",
            "\nHot.\nCold.\n",
            (),
        ),
        ("::: mermaid\ngraph LR\n:::\n# Fan", "```\ngraph LR\n```\n# Fan", ()),
        ("Costs $\\{a\\}$ or \\[no\\](link).", "Costs $\\{a\\}$ or \\[no\\](link).", ()),
    ],
)  # fmt: skip
def test_marks_of_one_kind_of_markdown_are_what_a_reader_sees_of_them(source, text, notes):
    page = read(".md", source)
    assert (page.text, page.notes) == (text, notes)


def test_a_title_block_of_pandoc_is_metadata():
    page = read(".md", "% The pump\n% Ada Moss\n\nText with 5 % of it.\n")
    assert (page.title, page.metadata) == ("The pump", {"title": "The pump", "author": "Ada Moss"})
    assert page.text == "\nText with 5 % of it.\n"


@pytest.mark.parametrize(
    "source",
    [
        "> " * 22 + "[a](b)\n> > [!NOTE]\n> > Hot.\n",
        "{{<" + " " * 12_000,
        "a" + " " * 30_000 + "{",
        "\n" * 9_000,
        "- [a](#" * 9_000,
    ],
)
def test_odd_marks_without_end_take_no_longer_than_others(source):
    start = time.process_time()
    read(".md", source)
    assert time.process_time() - start < 1
