"""The cells of a CSV file, each with the line it came from, so that errors can name it."""

from __future__ import annotations

import csv
import io
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgeward.runtime.arrays import Floats
from edgeward.runtime.errors import InvalidDataError

__all__ = ["Cells", "is_number", "read_cells"]

_MISSING = ("", "na", "n/a", "nan", "null", "none", "?")
_LARGEST = 3.4e38  # of float32
# A float32 has 24 bits; beyond it fewer than 7 are left for what tells the rows apart.
_MOST_OFFSET = 2.0**17


@dataclass(frozen=True)
class Cells:
    """A table as text.

    Args:
        path: Where it was read from.
        header: Names of the columns, none twice.
        rows: Cells without the space around them; as many in each row as there are columns.
        lines: Number of the line in which each row ends, from 1.
    """

    path: Path
    header: list[str]
    rows: list[list[str]]
    lines: list[int]

    def column(self, name: str) -> list[str]:
        """Return the cells of a column.

        Raises:
            InvalidDataError: One is missing; names its line.
        """
        at = self.header.index(name)
        cells = [row[at] for row in self.rows]
        for cell, line in zip(cells, self.lines, strict=True):
            if cell.lower() in _MISSING:
                raise InvalidDataError(
                    f"{self.path}, line {line}: a value is missing in column {name!r}.",
                    received=repr(cell),
                    fix="fill it in, remove the line, or leave the column out: "
                    f"--set ignore={name}",
                )
        return cells

    def numbers(self, name: str) -> Floats:
        """Return a column as float32 [N].

        Raises:
            InvalidDataError: A cell is missing or no finite number; names its line. Or float32
                would not tell the rows apart.
        """
        cells = self.column(name)
        if not any(is_number(cell) for cell in cells):
            raise InvalidDataError(
                f"{self.path}: column {name!r} holds text, and the model takes numbers only.",
                received=f"line {self.lines[0]}: {cells[0]!r}",
                fix=f"write numbers instead, or leave the column out: --set ignore={name}",
            )
        for cell, line in zip(cells, self.lines, strict=True):
            if not is_number(cell) or not abs(float(cell)) < _LARGEST:
                raise InvalidDataError(
                    f"{self.path}, line {line}: no usable number in column {name!r}.",
                    received=repr(cell),
                    expected="a finite number such as 12.5 (the decimal mark is a point)",
                )
        values = np.array([float(cell) for cell in cells], np.float64)
        if 0 < values.std() < abs(values.mean()) / _MOST_OFFSET:
            raise InvalidDataError(
                f"{self.path}: column {name!r} differs too little from its mean for float32.",
                received=f"mean {values.mean():g}, standard deviation {values.std():g}",
                fix=f"subtract {values.mean():.0f} in the file, or leave the column out: "
                f"--set ignore={name}",
            )
        return values.astype(np.float32)


def is_number(text: str) -> bool:
    """Tell whether a cell is a finite number as CSV files write it."""
    try:
        # Python's own digits 1_000 and full-width ones are no numbers elsewhere.
        return "_" not in text and text.isascii() and math.isfinite(float(text))
    except ValueError:
        return False


def read_cells(path: Path) -> Cells:
    """Read a CSV file in UTF-8 with a header.

    The separator is the one of comma, semicolon and tab that the header has most of. Empty lines
    are passed over.

    Raises:
        InvalidDataError: It cannot be read, has no header or no rows, or a row of another
            length; names the line.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise InvalidDataError(
            f"{path} cannot be read.", received=error.strerror, expected="a CSV file"
        ) from None
    except UnicodeDecodeError as error:
        raise InvalidDataError(
            f"{path} is not UTF-8.", received=f"{error.reason} at byte {error.start}"
        ) from None
    first = text.partition("\n")[0]
    separator = max(",;\t", key=first.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    rows: list[list[str]] = []
    lines: list[int] = []
    try:
        for row in reader:
            if row:
                rows.append([cell.strip() for cell in row])
                lines.append(reader.line_num)
    except csv.Error as error:
        raise InvalidDataError(
            f"{path}, line {reader.line_num}: not CSV.", received=error
        ) from None
    if len(rows) < 2:
        raise InvalidDataError(
            f"{path} has no rows.", received=f"{len(rows)} line(s)", expected="a header and rows"
        )
    header = rows[0]
    _check_header(path, header)
    for row, line in zip(rows, lines, strict=True):
        if len(row) != len(header):
            raise InvalidDataError(
                f"{path}, line {line}: the row does not fit the header.",
                received=f"{len(row)} cells",
                expected=f"{len(header)} ({', '.join(header)})",
            )
    return Cells(path, header, rows[1:], lines[1:])


def _check_header(path: Path, header: list[str]) -> None:
    twice = sorted({name for name in header if header.count(name) > 1})
    if "" in header or twice:
        raise InvalidDataError(
            f"{path}: each column needs a name of its own.",
            received=f"{twice[0]!r} twice" if twice else f"column {header.index('') + 1} has none",
        )
    if all(is_number(name) for name in header):
        raise InvalidDataError(
            f"{path} has no header.",
            received=", ".join(header)[:100],
            expected="the names of the columns in the first line",
        )
