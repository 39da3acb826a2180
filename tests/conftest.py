"""What every test file may use: helpers beside it, and hypothesis without a stopwatch."""

import sys
from pathlib import Path

from hypothesis import settings

sys.path.insert(0, str(Path(__file__).parent))

# shared machines stall for longer than any deadline that would mean something
settings.register_profile("swarm", deadline=None)
settings.load_profile("swarm")
