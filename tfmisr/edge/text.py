"""Formats counted nouns and measured numbers in messages."""


def counted(count: int, noun: str) -> str:
    """Returns a number with its noun in the right form: "1 image", "2 images", "1,000 images"."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def three_digits(value: float) -> str:
    """Returns a number with at least three significant digits and without an exponent: "4.33", "1,234", "0.00123"."""
    return f"{value:,.0f}" if abs(value) >= 999.5 else f"{value:.3g}"
