"""One entry an option; presets and recipes; flags."""
