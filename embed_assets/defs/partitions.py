"""One partition is one document collection."""

from dagster import DynamicPartitionsDefinition

collections = DynamicPartitionsDefinition(name="collection")
