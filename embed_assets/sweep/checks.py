"""What can be wrong with a sweep."""

from embed_assets.artifacts.checks import Check

LEADERBOARD_CHECKS = {
    "settings_hold": Check("No trial is significantly better on the dev queries than the settings as they are."),
}
