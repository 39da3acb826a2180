BLOCK = 16


def histogram(data):
    counts = {}
    for start in range(0, len(data), BLOCK):
        block = data[start : start + BLOCK]
        for value in set(block):
            counts[value] = counts.get(value, 0) + block.count(value)
    return counts
