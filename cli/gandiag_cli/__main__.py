"""`python -m gandiag_cli`: the same as `gandiag`."""

from gandiag_cli.app import main

main()
