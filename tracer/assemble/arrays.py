"""What arrays hold that are no records."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Flags = npt.NDArray[np.bool_]
Numbers = npt.NDArray[np.int64]
Indexes = npt.NDArray[np.intp]
Unsigned = npt.NDArray[np.uint64]
Small = npt.NDArray[np.uint8]
