"""Copy a collection four times, to see what each source of questions is worth.

    python data/write_question_ablation.py COLLECTION TARGET [EXAMPLES]

writes TARGET/collections/COLLECTION-written (questions of the language model alone), -lookups (look-ups alone),
-both, and -unfiltered (both, without the round-trip filter), which share the documents and the human labels of
data/collections/COLLECTION (or of the BEIR folder COLLECTION), and data/settings.yaml. With EXAMPLES, each is trained
on so many triplets. Then

    embed-assets run --data TARGET --home TARGET/home
"""

import json
import shutil
import sys
from pathlib import Path

from embed_assets.settings_files import read_yaml

VARIANTS = {
    "written": {"max_lookups": 0},
    "lookups": {"max_questions": 0},
    "both": {},
    "unfiltered": {"round_trip_top_k": 0, "max_similarity": 1.0},
}


def main(name: str, target: str, examples: str = "") -> None:
    data = Path(__file__).parent
    source = data / "collections" / name if (data / "collections" / name).is_dir() else Path(name)
    own = source / "settings.yaml"
    settings = read_yaml(own) if own.is_file() else {}
    if examples:
        settings["training"] = settings.get("training", {}) | {"max_examples": int(examples)}
    for variant, change in VARIANTS.items():
        folder = Path(target, "collections", f"{source.name}-{variant}")
        folder.mkdir(parents=True, exist_ok=True)
        for part in ("documents", "corpus.jsonl", "queries.jsonl", "qrels", "prompts"):
            if (source / part).exists():
                (folder / part).unlink(missing_ok=True)
                (folder / part).symlink_to((source / part).resolve())
        questions = settings.get("questions", {}) | change
        (folder / "settings.yaml").write_text(json.dumps(settings | {"questions": questions}), encoding="utf-8")
    if not Path(target, "settings.yaml").exists():
        shutil.copy(data / "settings.yaml", target)


if __name__ == "__main__":
    main(*sys.argv[1:])
