// The items that tell most: a sample of a suite in which items that flip often under quantization are likelier, and estimates for the whole
// suite from it. Which items flip is learned from other models or nights than the one judged; because every item's probability
// of being chosen is known and above zero, weighting by its inverse makes up for the choice exactly.
// Sources: Horvitz & Thompson 1952, J. Am. Stat. Assoc. 47:663; Hajek 1971 (the ratio estimator); Madow 1949 (systematic sampling with unequal
// probabilities); the variance after Hajek 1964, as in Tille 2006, "Sampling Algorithms", ch. 7.
#pragma once

#include "reports/statistics/interval.h"

#include <cstdint>
#include <span>
#include <vector>

namespace quantfleet::statistics {

// How often an item's mark differed from the baseline's, either way.
struct FlipHistory {
  int comparisons = 0, flips = 0;
};

// Flip rates, drawn towards the mean of all by two comparisons' worth: an item that was never compared has the mean.
std::vector<double> flip_rates(std::span<const FlipHistory> history);

// Of a sample of `count` items: proportional to a floor + rate, at most 1, their sum is `count`. The floor is the mean rate (at least 0.01), so no
// item is less than half as likely as the average. `count` at least 1; the whole suite where it is not larger.
std::vector<double> inclusion_probabilities(std::span<const double> rates, int count);

// As many items as the probabilities' sum says, ascending: systematic, from a random start, over a random order, both from `seed`.
std::vector<int> draw_items(std::span<const double> probabilities, std::uint64_t seed);

// The mean over the whole suite from the values of drawn items and their probabilities (Hajek), with its standard error.
Estimate weighted_mean(std::span<const double> values, std::span<const double> probabilities);

// Its 95 % interval, cut to `low`..`high`. Few flips of items with small probabilities carry most of the variance, which makes the variance
// itself uncertain: Student's t with Satterthwaite's degrees of freedom for a sum of independent terms, 2 (sum of them)^2 / (sum of their
// squares), at least 1. Where all values are equal nothing scatters, and the interval says how many of the suite's `items` could differ
// unseen: K with (1 - p)^K = 2.5 %, p the least probability that inclusion_probabilities gives. Without values: low..high.
// Sources: Satterthwaite 1946, Biometrics Bulletin 2:110; for no events Hanley & Lippman-Hand 1983, JAMA 249:1743.
Interval weighted_interval(std::span<const double> values, std::span<const double> probabilities, int items, double low, double high);

}  // namespace quantfleet::statistics
