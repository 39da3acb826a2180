SIZE_POWER = 0.05


def pack(items, room):
    chosen = 0.0
    for value, size in sorted(items, key=lambda item: -item[0] / item[1] ** SIZE_POWER):
        if size <= room:
            room -= size
            chosen += value
    return chosen
