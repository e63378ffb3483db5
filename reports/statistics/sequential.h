// A verdict at any time: items come one after another, and after each it may be asked whether they suffice; the chance of a wrong
// verdict stays below the level however often that is done. Pairs of one area, in an order that does not depend on the answers.
//
//   SAME   the mean difference (candidate - baseline) is above -margin: against every mean <= -margin at the level
//   WORSE  it is below 0:                                             against every mean >= 0 at the level
// Each is a test by betting: capital W_n = product over items of 1 + lambda (x_i - m), where x is the difference (for WORSE, its negative)
// and m the largest mean of the hypothesis, started with 1 and spread over a fixed grid of lambda, the k-th largest stake with a part
// proportional to 1/k; under the hypothesis W is a nonnegative supermartingale, so it ever reaches 1 / level with probability at most
// level (Ville 1939). Items are taken as a random sample of what the suite stands for.
// Source: Waudby-Smith & Ramdas 2024, "Estimating means of bounded random variables by betting", J. R. Stat. Soc. B 86(1).
#pragma once

#include "contract/verdict.h"
#include "coordinator/scheduler/stopping_rule.h"
#include "reports/statistics/interval.h"

#include <cstddef>
#include <memory>
#include <span>

namespace quantfleet::statistics {

struct SequentialVerdict {
  Verdict verdict = Verdict::kUnknown;
  std::size_t items = 0;  // up to the first verdict; without one, all
};
SequentialVerdict sequential_verdict(std::span<const double> differences, double margin, double level);

// Means that neither one-sided test rejects with all of the differences: covers the true mean at all times together with
// probability 1 - 2 level. Empty input: -1..1.
Interval sequential_interval(std::span<const double> differences, double level);

class BettingRule : public coordinator::StoppingRule {
 public:
  std::unique_ptr<Question> ask(double margin, double level) const override;
};

}  // namespace quantfleet::statistics
