"""Features of a frozen backbone in the place of images and texts."""
