"""A trip visits every city once, whatever the map."""

import unittest

from tour import tour


class TourTest(unittest.TestCase):
    """Runs as `python -m unittest -q test_tour`."""

    def test_each_city_is_visited_once(self) -> None:
        """Also where cities lie in one place, and where there are few."""
        for cities in ([(0.0, 0.0)] * 5, [(0.1, 0.2), (0.3, 0.4), (0.5, 0.9)]):
            self.assertEqual(sorted(tour(cities, 50, 1)), list(range(len(cities))))
