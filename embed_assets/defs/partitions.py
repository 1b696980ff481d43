"""One partition is one document collection; trials have a second dimension."""

from dagster import DynamicPartitionsDefinition, MultiPartitionsDefinition

COLLECTION, TRIALS = "collection", "trial"
PARTITION_TAG = "dagster/partition"  # of a run, with the name of its partition
collections = DynamicPartitionsDefinition(name=COLLECTION)
trials = DynamicPartitionsDefinition(name=TRIALS)
collections_and_trials = MultiPartitionsDefinition({COLLECTION: collections, TRIALS: trials})
