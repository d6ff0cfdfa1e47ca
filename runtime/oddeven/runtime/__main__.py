"""`python -m oddeven.runtime` is the `oddeven` command."""

from oddeven.runtime.cli import main

main()
