"""What the columns of the tables mean, as the Dagster UI shows it."""

import re

_COLUMNS = {
    "chunk_id": "id of the chunk: its document and its number there, counted from 0; of a production table, the id of the row",
    "document_id": "name of the document: its path, its id in corpus.jsonl or in the production table",
    "start": "where it begins in the text of the document, in characters from 0",
    "end": "where it ends, in characters",
    "text": "the text of the chunk, as it stands in the document",
    "passage": "what is searched and encoded: the title and the headings above it, then the text",
    "tokens": "length of the passage in tokens of the base model",
    "language": "ISO 639-1 code of the collection's language",
    "query_id": "id of the query; a query with several answers has a row for each",
    "query": "the words of the query",
    "style": "how the query was made: question, how_to, keyword, identifier …",
    "writer": "who wrote the query: a model, 'text' for a look-up, 'own' for pairs that were brought along",
    "answer": "the answer that the writer gave, where it was asked for one",
    "source": "human, own (the user's pairs), synthetic (written by a model) or look-up (taken from the text)",
    "split": "train, dev (which chooses) or test (which judges)",
    "relevance": "how well it answers the query; 0 does not",
    "anchor": "the query, as it is trained on",
    "positive": "the passage that answers it",
    "negative_n": "a hard negative: a passage that retrieval finds for the query and that does not answer it",
    "positive_chunk": "id of the positive's chunk",
    "positive_document": "document of the positive",
    "negative_chunks": "ids of the negatives' chunks",
    "negative_documents": "documents of the negatives",
    "answers": "ids of all chunks that answer the query by its words; none of them counts as a negative",
    "cluster": "the document that the query is about; queries of one document are not independent",
    "system": "what searched: base, tuned, bm25, hybrid, late …",
    "ndcg@n": "normalized discounted cumulative gain of the first n",
    "recall@n": "share of the relevant units among the first n",
    "map@n": "mean average precision of the first n",
    "mrr@n": "one divided by the place of the first relevant unit among the first n, else 0",
    "step": "optimizer step",
    "loss": "training loss",
    "dev_loss": "loss on the dev triplets",
    "dev_ndcg@n": "nDCG of the first n on the dev queries",
    "trial": "the settings that differ, which are also the trial's name",
}


def description_of(column: str) -> str | None:
    """What a column means; None for one that is not ours, such as a column of the production table."""
    return _COLUMNS.get(column) or _COLUMNS.get(re.sub(r"(?<=[_@])\d+$", "n", column))
