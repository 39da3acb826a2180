"""What every test file may use: the folder of tests as a place to import helpers from."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
