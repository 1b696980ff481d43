"""The command ``embed-assets``."""

import errno
import re
import sqlite3
from pathlib import Path
from typing import Any, NoReturn

import click
import sqlalchemy.exc

from embed_assets.artifacts.errors import UserError
from embed_assets.artifacts.remote_folder import RemoteError
from embed_assets.artifacts.secrets import hide_secrets, tells_a_secret, without_secrets
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
    prompts,
    results,
    sweeps,
)

COMMANDS = (
    initialize.init,
    doctor.doctor,
    building.run,
    planning.plan_command,
    planning.preview,
    prompts.prompts_command,
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


# What the place that somebody named is to blame for.
FULL = {errno.ENOSPC, errno.EDQUOT}
UNUSABLE = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EIO}
# A message of LanceDB, without the place in its source.
OF_LANCEDB = re.compile(r"(lance error: .*?)(?:, \S+\.rs:\d+:\d+)?$", re.DOTALL)


class Commands(click.Group):
    """Ends a command with one line where something is missing or wrong, or data or home cannot be used, as on a full disk."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (UserError, RemoteError) as error:
            raise click.ClickException(hide_secrets(error)) from None
        except OSError as error:
            if error.errno in FULL:  # where it was found out while writing, the error names no file
                place = f"{Path(error.filename).parent}: " if error.filename else ""
                raise click.ClickException(f"{place}{error.strerror}: make room there, or name another folder") from None
            if error.errno in UNUSABLE and error.filename:
                raise click.ClickException(
                    f"{error.filename}: {error.strerror}: see that it can be read and written, or name another folder"
                ) from None
            _raise_without_secrets(error)
        except (
            sqlalchemy.exc.OperationalError,
            sqlite3.OperationalError,
        ) as error:  # of Dagster, in the middle of a run; of a memo
            raise click.ClickException(
                f"a database of the home cannot be used ({hide_secrets(getattr(error, 'orig', error))}): see that there is "
                "room and that it can be reached; what was built is kept, and a new run goes on from there"
            ) from None
        except Exception as error:
            if isinstance(error, RuntimeError) and (told := OF_LANCEDB.match(str(error))):  # it has no class of its own
                raise click.ClickException(
                    f"a LanceDB database cannot be used ({without_secrets(told[1])}): see that there is room, and that it can be "
                    "read and written; what is in production stays as it was"
                ) from None
            _raise_without_secrets(error)


def _raise_without_secrets(error: Exception) -> NoReturn:
    """Raise an error as it is, or its message alone where it or one of its causes has something secret."""
    if tells_a_secret(error):
        raise click.ClickException(f"{type(error).__name__}: {hide_secrets(error)}") from None
    raise error


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Fine-tune an embedding model on your own documents, and prove that it is better."""


for command in COMMANDS:
    main.add_command(command)
