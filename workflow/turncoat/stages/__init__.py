"""The stages: one program each, `python -m turncoat.stages.<stage>`."""

import gc
import sys

AS_PROGRAM = sys.argv[0] == "-m"  # so it stands while Python looks for the module that it was asked to run

if AS_PROGRAM:
    gc.disable()  # loading PyTorch leaves no garbage, and looking for it takes a tenth of the time; `begin` enables it
