"""foveate's engine as a child process: :class:`Engine` by itself, :class:`Generate` for ``map_batches`` of Ray Data.

The program ``foveate`` is looked for in ``$FOVEATE`` and then on the path.
"""

from ._engine import Engine, EngineError
from ._generate import Generate

__all__ = ["Engine", "EngineError", "Generate"]
