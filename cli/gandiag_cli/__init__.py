"""The `gandiag` command: one file in `commands/` for each sub-command, found by scanning the folder."""
