"""One file a command: `NAME.py` defines `command()`, which becomes `gandiag NAME`.

Everything heavy (torch above all) is imported inside the function: `gandiag --help` imports every
module of this folder and must stay under half a second.
"""
