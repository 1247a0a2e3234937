"""The metrics themselves, as functions of images."""
