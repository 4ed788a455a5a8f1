"""Line numbers of keys in a TOML file, for messages: `tomllib` gives them for syntax errors only."""

import re

_ARRAY = re.compile(r"\s*\[\[\s*([\w.\-]+)\s*\]\]")
_TABLE = re.compile(r"\s*\[\s*([\w.\-]+)\s*\]")
_KEY = re.compile(r"""\s*["']?([\w\-]+)["']?\s*=""")


class Lines:
    """Finds the line of a table or key.

    Args:
        text: Content of the file.
    """

    def __init__(self, text: str) -> None:
        self._found: dict[tuple[str, int, str], int] = {}
        counts: dict[str, int] = {}
        table, index = "", 0
        for number, line in enumerate(text.splitlines(), 1):
            if match := _ARRAY.match(line):
                table = match[1]
                index = counts[table] = counts.get(table, -1) + 1
                self._found.setdefault((table, index, ""), number)
            elif match := _TABLE.match(line):
                table = match[1]
                index = counts.get(table.partition(".")[0], 0)
                self._found.setdefault((table, index, ""), number)
            elif match := _KEY.match(line):
                self._found.setdefault((table, index, match[1]), number)

    def of(self, table: str, index: int = 0, key: str = "") -> int:
        """Returns the line of a key, else that of its table, else 1.

        Args:
            table: Name in brackets; dots for nested tables.
            index: Number in an array of tables, from 0.
            key: Name of the value.
        """
        found = self._found
        return found.get((table, index, key)) or found.get((table, index, "")) or found.get(("", 0, table)) or 1
