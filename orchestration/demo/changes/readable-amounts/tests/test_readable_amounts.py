import unittest

from larder.quantities import Quantity


class ReadableAmountsTest(unittest.TestCase):
    def assert_reads(self, written, expected):
        self.assertEqual(Quantity.parse(written).readable(), expected)

    def test_metric_amounts_take_the_handier_unit(self):
        self.assert_reads("1500 g", "1.5 kg")
        self.assert_reads("0.25 kg", "250 g")
        self.assert_reads("1000 ml", "1 l")

    def test_spoons_and_pieces_use_fraction_signs(self):
        self.assert_reads("0.5 tsp", "½ tsp")
        self.assert_reads("1 1/4 cup", "1¼ cup")
        self.assert_reads("2 3/4", "2¾")

    def test_whole_amounts_stay_whole(self):
        self.assert_reads("3", "3")
        self.assert_reads("2 tbsp", "2 tbsp")

    def test_what_has_no_sign_is_rounded(self):
        self.assert_reads("1/7 cup", "0.14 cup")
