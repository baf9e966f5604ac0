"""The array types that signatures name."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

__all__ = ["Array", "Column", "Floats"]

Array: TypeAlias = npt.NDArray[Any]
Floats: TypeAlias = npt.NDArray[np.float32]
# N raw samples of one input: an array [N, ...], or N texts as UTF-8 bytes.
Column: TypeAlias = Array | list[bytes]
