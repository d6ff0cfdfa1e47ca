"""`python -m oddeven.runtime` is the `oddeven` command."""

from oddeven.runtime.cli.main import main

main()
