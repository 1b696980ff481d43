"""What the report on pairs says where nothing was to be written."""

import polars as pl
import pytest

from embed_assets.queries.pairs import PAIR_SCHEMA
from embed_assets.queries.settings import QuestionsSettings
from embed_assets.reports.queries import shares_of_questions


@pytest.mark.parametrize("styles", [{}, {"question": 0}])
def test_styles_without_a_share_have_no_shares_to_tell_of(styles: dict[str, float]):
    settings = QuestionsSettings(max_questions=0, styles=styles)
    assert shares_of_questions(pl.DataFrame(schema=PAIR_SCHEMA), settings).is_empty()
