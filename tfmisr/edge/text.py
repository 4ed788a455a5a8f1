"""Formats counted nouns in messages."""


def counted(count: int, noun: str) -> str:
    """Returns a number with its noun in the right form: "1 image", "2 images", "1,000 images"."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
