"""Write the sample collection ``cwe`` in BEIR form from the Python package cwe2.

The documents are the weakness descriptions of MITRE's CWE 4.14. The queries are their "observed
examples": one-line summaries of real vulnerabilities that an analyst filed under a weakness. The
documents do not contain them.

Usage: python data/write_cwe_collection.py [FOLDER]
"""

import importlib.util
import json
import re
import shutil
import sys
import xml.etree.ElementTree as ElementTree
from collections import defaultdict
from pathlib import Path

PROSE = (
    "Description",
    "Extended_Description",
    "Background_Details",
    "Alternate_Terms",
    "Common_Consequences",
    "Potential_Mitigations",
)
NAMESPACE = "{http://cwe.mitre.org/cwe-7}"
MIN_QUERY_WORDS = 5


def main(folder: Path) -> None:
    package = Path(importlib.util.find_spec("cwe2").submodule_search_locations[0]) / "database_v49"
    catalog = ElementTree.parse(package / "cwec_v4.14.xml").getroot()
    weaknesses = [item for item in catalog.iter(f"{NAMESPACE}Weakness") if item.get("Status") != "Deprecated"]
    names = {item.get("ID"): item.get("Name") for item in weaknesses}
    labels = defaultdict(set)
    for item in weaknesses:
        for example in item.iter(f"{NAMESPACE}Observed_Example"):
            text = _text(example.find(f"{NAMESPACE}Description"))
            # Several names in one line are a chain of weaknesses: which of them the line is about is not said.
            if len(text.split()) >= MIN_QUERY_WORDS and not text.lower().startswith("chain:"):
                labels[text].add(f"CWE-{item.get('ID')}")
    queries = {text: f"observed-{number:04d}" for number, text in enumerate(sorted(labels), start=1)}

    (folder / "qrels").mkdir(parents=True, exist_ok=True)
    _write_jsonl(folder / "queries.jsonl", [{"_id": name, "text": text} for text, name in queries.items()])
    judgements = [f"{name}\t{weakness}\t1" for text, name in queries.items() for weakness in sorted(labels[text])]
    (folder / "qrels" / "test.tsv").write_text("\n".join(["query-id\tcorpus-id\tscore", *judgements, ""]))
    shutil.copy(package / "cwe-tou.LICENSE", folder / "LICENSE")
    _write_jsonl(folder / "corpus.jsonl", [_document(item, names) for item in weaknesses])
    print(f"{folder}: {len(weaknesses)} documents, {len(queries)} queries, {len(judgements)} labels")


def _document(weakness: ElementTree.Element, names: dict[str, str]) -> dict[str, str]:
    parts = []
    for tag in PROSE:
        element = weakness.find(f"{NAMESPACE}{tag}")
        if element is not None:
            children = element if tag in ("Alternate_Terms", "Common_Consequences", "Potential_Mitigations") else [element]
            lines = [line for line in map(_text, children) if line]
            bullet = "- " if len(lines) > 1 else ""
            parts.append(f"## {tag.replace('_', ' ')}\n\n" + "\n".join(f"{bullet}{line}" for line in lines))
    parents = {
        relation.get("CWE_ID"): None
        for relation in weakness.iter(f"{NAMESPACE}Related_Weakness")
        if relation.get("Nature") == "ChildOf" and relation.get("CWE_ID") in names
    }
    if parents:
        lines = "\n".join(f"- child of CWE-{parent}: {names[parent]}" for parent in parents)
        parts.append(f"## Related Weaknesses\n\n{lines}")
    name = f"CWE-{weakness.get('ID')}"
    return {"_id": name, "title": f"{name}: {weakness.get('Name')}", "text": "\n\n".join(parts)}


def _text(element: ElementTree.Element | None) -> str:
    if element is None:
        return ""
    return re.sub(r"\s+", " ", " ".join(piece.strip() for piece in element.itertext() if piece.strip()))


def _write_jsonl(path: Path, rows: list[dict[str, str]]) -> None:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "collections" / "cwe")
