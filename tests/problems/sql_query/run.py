import os
import random
import sqlite3
from collections import Counter
from pathlib import Path

rng = random.Random(int(os.environ.get("SWARM_SEED", "0")))
visits = [rng.randint(1, 365) for _ in range(300)]
db = sqlite3.connect(":memory:")
db.execute("CREATE TABLE visits (day INTEGER)")
db.execute("CREATE INDEX by_day ON visits (day)")
db.executemany("INSERT INTO visits VALUES (?)", [(day,) for day in visits])
steps = 0


def count():
    global steps
    steps += 1


db.set_progress_handler(count, 100)
found = db.execute(Path("query.sql").read_text()).fetchall()
assert dict(found) == {day: Counter(visits)[day] for day in range(1, 366)}
print(f"steps = {steps}00")
