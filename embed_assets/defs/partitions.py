"""One partition is one document collection; trials have a second dimension."""

from dagster import DynamicPartitionsDefinition, MultiPartitionsDefinition

collections = DynamicPartitionsDefinition(name="collection")
trials = DynamicPartitionsDefinition(name="trial")
collections_and_trials = MultiPartitionsDefinition({"collection": collections, "trial": trials})
