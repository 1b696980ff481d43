"""The metrics of every score table, as BEIR and ranx name them."""

METRICS = [f"{name}@{k}" for name in ("ndcg", "recall") for k in (1, 5, 10, 100)] + ["map@10", "mrr@10"]
HEADLINE = "ndcg@10"
