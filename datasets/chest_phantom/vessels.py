"""Vessels of the lungs: trees grown from the hila towards random points in each lung."""

import numpy as np

from tfmisr.datasets.chest_phantom import anatomy, shapes, tubes

# Radius of the last branches drawn, cm, and the exponent k of r^k = sum of r_i^k at a fork: 3 in Murray's
# law, about 2.3 in pulmonary arteries (Nakamura and Awa, Physiol Rep 2014, doi 10.1002/phy2.236).
LEAST_RADIUS = 0.076
FORK_EXPONENT = 2.3

# Straight pieces of a branch.
BENDS = 6


def vessels(chest: anatomy.Chest, grid: shapes.Grid, rng: np.random.Generator, ends: int = 330) -> np.ndarray:
    """Returns the path through the arteries and veins of both lungs, cm.

    Args:
        chest: Proportions.
        grid: The pixels.
        rng: Source of randomness.
        ends: Last branches of an artery's tree; a vein's has two thirds of them.
    """
    pieces = []
    for side in (-1, 1):
        artery = _trunk(side, rng, -1.2 if side < 0 else -2.4, 0.9)
        vein = _trunk(side, rng, 1.2, 0.25)
        for trunk, number in ((artery, ends), (vein, ends * 2 // 3)):
            targets = _inside(chest, side, rng, number)
            pieces.append(_tubes(*_grow(trunk, targets, rng)))
    path = np.zeros_like(grid.x)
    tubes.add(path, grid, tubes.join(pieces))
    return path


def _trunk(side, rng, y, spread):
    """Returns the first nodes of a tree, root first, and the parent of each."""
    root = np.array([side * 1.5, y, 1.2])
    fork = np.array([side * 4.3, y + 0.2, 1.4]) + rng.normal(0, 0.3, 3)
    lower = fork + [side * 1.3, 4.2 * spread, 1.0] + rng.normal(0, 0.3, 3)
    upper = fork + [side * 1.1, -2.8 * spread, -0.5] + rng.normal(0, 0.3, 3)
    points = np.concatenate(
        [
            np.linspace(root, fork, 4),
            np.linspace(fork, lower, 6)[1:],
            np.linspace(fork, upper, 4)[1:],
        ]
    )
    return points, [-1, 0, 1, 2, 3, 4, 5, 6, 7, 3, 9, 10]


def _inside(chest, side, rng, number):
    """Returns points spread evenly through one lung, a centimetre or more from its surface."""
    low, high = chest.apex + 1.0, max(chest.domes) + 5
    points = rng.uniform([0, low, -1], [1, high, 1], (number * 4, 3))
    y = points[:, 1]
    medial, lateral = chest.medial(y), chest.lateral(y) - 0.7
    ratio = 2 * points[:, 0] - 1
    x = side * (medial + lateral + ratio * (lateral - medial)) / 2
    z = points[:, 2] * chest.depth(y) * 0.95
    above = chest.dome(x, side > 0) + anatomy.CREST_FALL * (z - anatomy.CREST) ** 2 - y
    round_section = np.abs(ratio) ** 2.4 + points[:, 2] ** 2 < 1
    # What is wide is more likely to hold a point: thin out where the lung is narrow.
    kept = rng.random(len(y)) < (lateral - medial) * chest.depth(y) / 110
    points = np.stack([x, y, z], axis=1)[(above > 0.6) & round_section & kept & (np.abs(x) > 3.2)]
    return points[:number]


def _grow(trunk, targets, rng):
    """Joins each target, near ones first, to the tree by the cheapest curved branch.

    Returns:
        Position of each node, (nodes, 3), the direction in which it is reached, and its parent.
    """
    place, parents = trunk
    parents = np.array(parents)
    step = place[1:] - place[parents[1:]]
    size = np.linalg.norm(step, axis=1)
    heading = np.concatenate([step[:1], step]) / np.concatenate([size[:1], size])[:, None]
    length = np.zeros(len(place))
    for node in range(1, len(place)):
        length[node] = length[parents[node]] + size[node - 1]
    order = np.argsort(np.linalg.norm(targets - place[0], axis=1) + rng.uniform(0, 3, len(targets)))
    done = 0
    while done < len(order):
        several = targets[order[done : done + 1 + done // 5]]
        done += len(several)
        node = _cheapest(several, place, heading, length)
        branch, steps = _branches(place[node], heading[node], several, rng)
        size = np.linalg.norm(steps, axis=2)
        fresh = len(place) + np.arange(branch.shape[0] * BENDS).reshape(-1, BENDS)
        place = np.concatenate([place, branch.reshape(-1, 3)])
        heading = np.concatenate([heading, (steps / size[..., None]).reshape(-1, 3)])
        length = np.concatenate([length, (length[node][:, None] + np.cumsum(size, axis=1)).ravel()])
        parents = np.concatenate([parents, np.column_stack([node, fresh[:, :-1]]).ravel()])
    return place, heading, parents


def _cheapest(targets, place, heading, length):
    way = targets[:, None] - place
    distance = np.sqrt(np.einsum("tnc,tnc->tn", way, way)) + 1e-6
    turn = 1 - np.einsum("tnc,nc->tn", way, heading) / distance
    return np.argmin(distance * (1 + 0.5 * turn) + 0.12 * length, axis=1)


def _branches(start, heading, end, rng):
    """Returns the points of curves that leave along `heading`, without the start, and their steps."""
    distance = np.linalg.norm(end - start, axis=1)[:, None]
    bend = start + (heading * 0.4 + rng.normal(0, 0.07, start.shape)) * distance
    t = np.linspace(0, 1, BENDS + 1)[:, None]
    points = (1 - t) ** 2 * start[:, None] + 2 * t * (1 - t) * bend[:, None] + t**2 * end[:, None]
    return points[:, 1:], np.diff(points, axis=1)


def _tubes(place, heading, parents):
    flow = _flow(parents)
    # Upright, the lower zones are better perfused.
    perfusion = np.clip(1 + 0.02 * (place[:, 1] + 2), 0.8, 1.25)
    radius = np.minimum(LEAST_RADIUS * flow ** (1 / FORK_EXPONENT) * perfusion, 0.75)
    node, parent = np.arange(1, len(place)), parents[1:]
    straight = np.einsum("ij,ij->i", heading[node], heading[parent]) > 0.4
    return tubes.Tubes(
        start=place[parent],
        end=place[node],
        start_normal=np.where(straight[:, None], heading[parent], heading[node]),
        end_normal=heading[node],
        first=(first := _across(heading[node])),
        second=np.cross(heading[node], first),
        half=np.repeat(radius[node][:, None], 2, axis=1),
        growth=np.zeros(len(node)),
    )


def _across(heading):
    away = np.where(np.abs(heading[:, 2:]) < 0.7, [[0.0, 0.0, 1.0]], [[1.0, 0.0, 0.0]])
    first = np.cross(heading, away)
    return first / np.linalg.norm(first, axis=1, keepdims=True)


def _flow(parents):
    """Returns how many ends each node feeds."""
    fed, parents = [0] * len(parents), parents.tolist()
    for node in range(len(parents) - 1, 0, -1):
        fed[node] = fed[node] or 1
        fed[parents[node]] += fed[node]
    return np.array(fed, float)
