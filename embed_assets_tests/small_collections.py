"""Two small collections of real sentences, and settings with which their whole chain takes seconds."""

import json
from pathlib import Path

SETTINGS = {
    "questions": {"max_questions": 0, "round_trip_top_k": 10},
    "evaluation_set": {"test_share": 0.3, "dev_share": 0.1},
    "negatives": {"per_query": 1},
    "training": {"batch_size": 4, "max_examples": 8, "learning_rate": 1e-4},
    "reranker": {"batch_size": 2, "max_examples": 8, "learning_rate": 1e-4},
    "reranking": {"top_k": 5},
    "scoring": {"resamples": 100},
    "export": {"int8": False, "parity_chunks": 4},
}

ROUTERS = {
    "reboot.md": "# Reboot loop\n\nBug RTR-1042 makes the router restart every 40 minutes after the clock is set back. "
    "Firmware 3.2.1 contains the fix. Until then, turn off the NTP client.\n",
    "led.md": "# Status lights\n\nA red light on port 7 means that the optical module XFP-220 was not recognized. "
    "Clean the fibre, then insert the module again.\n",
    "password.md": "# Lost password\n\nHold the reset button for ten seconds to bring back the factory password. "
    "All VLAN settings are erased by the reset.\n",
    "vlan.md": "# VLAN trunks\n\nThe command `trunk allow --vlan-range 10-20` lets tagged frames pass a trunk port. "
    "Frames with other tags are dropped and counted in drop_tagged.\n",
    "license.md": "# Licences\n\nError LIC-77 is shown when the licence of the intrusion detection ran out. "
    "The router goes on forwarding packets without inspecting them.\n",
    "upgrade.md": "# Upgrade\n\nCopy the image to the flash memory and run `upgrade --verify`. "
    "An upgrade from release 2.9 needs the intermediate release 3.0.4.\n",
    "snmp.md": "# Monitoring\n\nThe SNMP agent answers on UDP port 161 and sends traps to at most four receivers. "
    "The table rtrIfErrors counts damaged frames.\n",
    "fan.md": "# Fans\n\nFan tray FT-9 turns at 12000 revolutions when the intake air is warmer than 45 degrees. "
    "With a single broken fan the router runs for one hour.\n",
}
BAKERY = {
    "rye.md": "# Rye bread\n\nKnead rye flour, water and sourdough starter, and let the dough rest for sixteen hours. "
    "Bake it at 250 degrees with steam.\n",
    "croissant.md": "# Croissants\n\nFold cold butter into the dough three times, half an hour apart in the fridge. "
    "Brush them with egg yolk before baking.\n",
    "oven.md": "# Oven error E12\n\nThe deck oven shows E12 when the steam valve is stuck. "
    "Close the water tap, let the oven cool and descale the valve.\n",
    "order.md": "# Orders\n\nOrders for wedding cakes are taken two weeks ahead in form ORD-5. "
    "A deposit of forty percent is asked for.\n",
    "hygiene.md": "# Hygiene\n\nTables are washed with soda after each batch that contains nuts. "
    "The log HYG-3 is signed twice a day.\n",
    "mixer.md": "# Spiral mixer\n\nThe spiral mixer SM-60 takes at most sixty kilograms of dough. "
    "Grease the bowl bearing every three months.\n",
    "pretzel.md": "# Pretzels\n\nDip pretzels in cold lye of four percent and sprinkle them with coarse salt. "
    "Wear gloves and goggles.\n",
    "delivery.md": "# Delivery\n\nThe van leaves at five in the morning for the hotels and at six for the shops. "
    "Trays that come back are counted.\n",
}
QUERIES = {
    "router keeps rebooting": "reboot.md",
    "what does the red port light mean": "led.md",
    "forgot the admin login": "password.md",
    "LIC-77": "license.md",
    "how hot may the intake air be": "fan.md",
}


def write_collection(folder: Path, documents: dict[str, str], queries: dict[str, str] | None = None) -> None:
    """Write documents/, and queries.jsonl with qrels/test.tsv if there are queries."""
    (folder / "documents").mkdir(parents=True)
    for name, text in documents.items():
        (folder / "documents" / name).write_text(text)
    if queries:
        write_labels(folder, queries)


def write_labels(folder: Path, queries: dict[str, str]) -> None:
    """Write queries.jsonl and qrels/test.tsv from queries and the document that answers each."""
    (folder / "qrels").mkdir()
    rows = [(f"q{i}", text, document) for i, (text, document) in enumerate(queries.items())]
    (folder / "queries.jsonl").write_text("".join(json.dumps({"_id": i, "text": text}) + "\n" for i, text, _ in rows))
    (folder / "qrels" / "test.tsv").write_text(
        "query-id\tcorpus-id\tscore\n" + "".join(f"{i}\t{document}\t1\n" for i, _, document in rows)
    )


def write_small_collections(data: Path) -> None:
    """Write ``routers`` (with human labels), ``bakery`` and settings.yaml."""
    write_collection(data / "collections" / "routers", ROUTERS, QUERIES)
    write_collection(data / "collections" / "bakery", BAKERY)
    (data / "settings.yaml").write_text(json.dumps(SETTINGS))


def override(data: Path, collection: str, settings: dict) -> None:
    """Write the settings.yaml of one collection."""
    (data / "collections" / collection / "settings.yaml").write_text(json.dumps(settings))
