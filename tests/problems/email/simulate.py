import os
import random
import re
from pathlib import Path

text = Path("email.yaml").read_text()
subject = re.search(r"subject: ([^#\n]*)", text)[1].strip()
discount = float(re.search(r"discount: ([\d.]+)", text)[1])
chance = {"News from our shop": 0.1, "Your basket misses you": 0.3, "Save today": 0.2}[subject]
chance += 0.2 * min(discount, 20) / 20
rng = random.Random(int(os.environ.get("SWARM_SEED", "0")) + int(1000 * chance))
print("opened", sum(rng.random() < chance for _ in range(240)), sep=": ")
