"""What can be wrong with a sweep."""

from embed_assets.artifacts.checks import Check

# Stage → name of the check → what it asks for.
CHECKS: dict[str, dict[str, Check]] = {
    "trial": {
        "loss_fell": Check("The loss at the end is below the loss at the start."),
    },
    "leaderboard": {
        "settings_hold": Check("No trial is significantly better on the dev queries than the settings as they are."),
    },
    "saturation_curve": {},
}
