"""`python benchmarks`, from the repository or anywhere else."""

import sys
from pathlib import Path

if not __package__:  # started as a folder: the packages stand one level up
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from benchmarks.command import main  # after the path is right

sys.exit(main())
