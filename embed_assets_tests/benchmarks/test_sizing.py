"""The arithmetic of docs/sizing.md, against figures that were worked out by hand."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from embed_assets.benchmarks.sizing import MODELS, SIZES, Rates, Work, bottleneck, gpu_hours, other_figures, sizing_table
from embed_assets.cli.main import main

PAGE = (Path(__file__).parents[2] / "docs" / "sizing.md").read_text()


def test_hours_of_a_gpu():
    """2 x 110e6 parameters x 2.56e9 tokens are 5.632e17 operations: 563 seconds at 1e15 a second."""
    rates = Rates(peak=1000.0, encoding=1.0, training=1.0, reading=1.0, writing=0.5)
    hours = gpu_hours(10_000_000, Work(), rates)
    assert hours["encoding, base model"] == pytest.approx(563.2 / 3600)
    assert hours["training"] == pytest.approx(8 * 110e6 * 100_000 * (24 + 6 * 256) / 1e15 / 3600)
    assert hours["questions and judging"] == pytest.approx(60_000 * 2 * 5.1e9 * (3000 + 2 * 1000) / 1e15 / 3600)


def test_bytes():
    figures = other_figures(1_000_000, Work())
    assert figures["vectors of one model, GB"] == pytest.approx(3.072)
    assert figures["chunks and documents, GB"] == pytest.approx(0.7168)
    # A million chunks read in 100 s, and 102,000 queries that take 10 ms each.
    rates = Rates(indexed=10_000.0, searched=100e6)
    assert other_figures(1_000_000, Work(), rates)["mining and scoring, core hours"] == pytest.approx((100 + 1020) / 3600)
    assert figures["encoding twice with all-MiniLM-L6-v2, core hours"] == pytest.approx(23.148, abs=1e-3)


def test_the_page_has_what_the_command_prints():
    for work in MODELS.values():
        arguments = [f"--parameters={work.parameters}", f"--dimensions={work.dimensions}"]
        printed = CliRunner().invoke(main, ["benchmark", "sizing", *arguments])
        assert printed.output.strip() in PAGE
    for chunks in SIZES:
        for work in MODELS.values():
            assert bottleneck(chunks, work) in PAGE


def test_own_sizes():
    printed = CliRunner().invoke(main, ["benchmark", "sizing", "--chunks", "2000", "--chunks", "30000", "--json"])
    assert '"2,000 chunks"' in printed.output and '"30,000 chunks"' in printed.output
    assert sizing_table(Work(), sizes=(2000,)).columns == ["what", "2,000 chunks"]
