import pytest

from embed_assets.text.section_numbers import section_numbers, without_number


def numbers_of(*passages: str) -> set[str]:
    return section_numbers(["manual"] * len(passages), passages).get("manual", set())


@pytest.mark.parametrize(
    ("passages", "expected"),
    [
        (["Manual > 3 Care > 3.2 Oil\nNew.", "Manual\n# 4 Storage\n\nDry.", "Manual > 3 Care > 3.2 Oil > 3.2.1 When\nIn May."],
         {"3", "4", "3.2", "3.2.1"}),
        (["Manual > Chapter 3: Care\n## 3.1 Oil\n\nNew oil.", "Manual > Chapter 4: Storage\nDry."], {"3", "3.1", "4"}),
        (["Manual > Appendix A Parts\n## A.1 Valves\n\nTwo.", "Manual > Appendix B Tools\nOne."], {"A", "A.1", "B"}),
        (["Manual\n## Step 1: Stop it\n\nNow.", "Manual\n## Step 2: Oil it\n\nWell."], {"1", "2"}),
        # Versions, years, articles and names have numbers too.
        (["News > 4.2.0 Fixes\nNOX-1.", "News > 4.1.0 Fixes\nNOX-2.", "News > 4.1.1 Fixes\nNOX-3."], set()),
        (["News > 2024 Plans\nOne.", "News > 2025 Plans\nTwo."], set()),
        (["Manual > A pump\nRuns.", "Manual > B valve\nOpens."], set()),
        (["Ports > Server 1 set-up\nPlug.", "Ports > Server 2 set-up\nPlug."], set()),
        (["2 Oil the pump\n3 Turn it on"], set()),
        (["Web > 403 Forbidden\nNo.", "Web > 404 Not found\nNo.", "Web > 404.3 No such type\nNo."], set()),
    ],
)  # fmt: skip
def test_numbers_count_sections_where_others_stand_beside_or_above_them(passages, expected):
    assert numbers_of(*passages) == expected


def test_each_document_has_numbers_of_its_own():
    passages = ["M > 1 Care\nOil.", "M > 2 Use\nTurn.", "N > 1 Care\nOil."]
    assert section_numbers(["m", "m", "n"], passages) == {"m": {"1", "2"}}


@pytest.mark.parametrize(
    ("heading", "expected"),
    [
        ("3.2 Oil", "Oil"),
        ("3.2. Oil", "Oil"),
        ("Chapter 3: Care", "Care"),
        ("3 Care", "Care"),
        ("4 valves", "4 valves"),
        ("Oil 3.2", "Oil 3.2"),
        ("3.2", "3.2"),
    ],
)
def test_a_number_in_front_of_a_heading_is_cut_off_if_it_counts_a_section(heading, expected):
    assert without_number(heading, {"3", "3.2"}) == expected
