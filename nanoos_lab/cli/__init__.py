"""The command line ``nanoos-lab``."""

__all__ = ["main"]


def main() -> None:
    """Run the command line; the entry point of ``nanoos-lab``."""
    from nanoos_lab.cli.app import run

    run()
