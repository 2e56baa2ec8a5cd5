"""What the tests share: the model in $FOVEATE_MODEL, and the program in $FOVEATE or on the path."""

import os

MODEL = os.environ["FOVEATE_MODEL"]
PROGRAM = os.environ.get("FOVEATE", "foveate")
FLAGS = {"device": "cpu", "threads": 1, "context": 256, "sequences": 16}
