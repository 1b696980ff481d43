"""One partition is one document collection; trials have a second dimension."""

from dagster import DynamicPartitionsDefinition, MultiPartitionsDefinition

COLLECTION, TRIALS = "collection", "trial"
collections = DynamicPartitionsDefinition(name=COLLECTION)
trials = DynamicPartitionsDefinition(name=TRIALS)
collections_and_trials = MultiPartitionsDefinition({COLLECTION: collections, TRIALS: trials})
