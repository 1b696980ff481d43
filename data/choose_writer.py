"""Set the sample model that writes questions, in a settings.yaml whose comments stay.

    python data/choose_writer.py smollm2|qwen [SETTINGS]

smollm2 takes out what qwen has set.
"""

import sys
from io import StringIO
from pathlib import Path

from ruamel.yaml import YAML

from embed_assets.artifacts.files import write_atomically
from embed_assets.settings import load_settings

WRITERS = {
    "smollm2": {},
    "qwen": {
        "preset": "able",
        "writer": {
            "name": "sample:qwen2.5-coder-1.5b-instruct",
            "temperature": 0.7,
            "max_model_tokens": 4096,
            "max_new_tokens": 1000,
        },
        # So that the demo stays short, and as far as a model of this size can follow.
        "styles": {"question": 3, "how_to": 2, "symptom": 2, "search": 1, "identifier_question": 2, "contextual": 1},
        "answers": False,
        "extract_artifacts": False,
        "min_complexity": 1,
        "min_judge_score": 0.0,
    },
}


def main(writer: str, file: str = "") -> None:
    path = Path(file) if file else Path(__file__).with_name("settings.yaml")
    if writer not in WRITERS:
        sys.exit(f"WRITER is {writer!r}: it may be {' or '.join(WRITERS)}")
    yaml = YAML()
    yaml.width = 200
    settings = yaml.load(path.read_text(encoding="utf-8")) or {}
    before = str(settings)
    questions = settings.setdefault("questions", {})
    for name in {name for block in WRITERS.values() for name in block}:
        questions.pop(name, None)
    questions.update(WRITERS[writer])
    if str(settings) != before:
        text = StringIO()
        yaml.dump(settings, text)
        write_atomically(path, text.getvalue())
        print(f"{path}: {writer} writes the questions")
    load_settings(path)


if __name__ == "__main__":
    main(*sys.argv[1:])
