"""The subcommands that need the runtime only: each file holds one, named `command`."""
