"""``python -m embed_assets.cli``."""

from embed_assets.cli.main import main

main()
