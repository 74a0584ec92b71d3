"""``python -m nanoos_lab`` is ``nanoos-lab``."""

from nanoos_lab.cli import main

if __name__ == "__main__":
    main()
