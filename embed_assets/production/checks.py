"""What can be wrong with production."""

from embed_assets.artifacts.checks import Check
from embed_assets.evaluation.metrics import HEADLINE

# Half precision costs up to 0.0001 on all-MiniLM-L6-v2.
LEAST_SERVED_COSINE = 0.999

PUBLISHED_INDEX_CHECKS = {
    "promoted": Check(
        "The checkpoint is in production: significantly better than what was there, or an operator said so. If not, what was "
        "there is, or the base model."
    ),
}
DRIFT_CHECKS = {
    "chunks_covered": Check("The model in production was trained with queries for most of the chunks that there are now."),
    "score_holds": Check(f"The index that is searched has the {HEADLINE} that it was published with."),
}
