import unittest

from my_project import Cost


class Tests(unittest.TestCase):
    def test_a_missed_complaint_costs_more(self) -> None:
        scores = Cost(missed=5).compute(predictions=[0, 1, 1], references=[1, 0, 1])
        assert scores == {"cost": 2.0}
