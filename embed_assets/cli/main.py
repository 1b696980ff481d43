"""The command ``embed-assets``."""

import click

from embed_assets.cli import (
    benchmark,
    building,
    doctor,
    exports,
    housekeeping,
    initialize,
    overview,
    planning,
    playground,
    production,
    results,
    sweeps,
)

COMMANDS = (
    initialize.init,
    doctor.doctor,
    building.run,
    planning.plan_command,
    planning.preview,
    results.scores,
    overview.overview_command,
    results.path,
    results.compare,
    results.report,
    exports.export_beir_command,
    exports.export_rag_command,
    exports.export_sdg_command,
    sweeps.sweep,
    sweeps.promote,
    building.collections,
    housekeeping.prune,
    housekeeping.verify,
    production.search,
    playground.playground,
    production.rollback,
    benchmark.benchmark,
    building.settings,
)


@click.group()
def main() -> None:
    """Fine-tune an embedding model on your own documents, and prove that it is better."""


for command in COMMANDS:
    main.add_command(command)
