// When enough items are in: the coordinator asks while it hands out units of a plan that wants a verdict; whoever knows
// statistics answers (reports/statistics/sequential.h). Which pairs count, in which order, is the coordinator's: see verdicts.h.
#pragma once

#include "contract/verdict.h"

#include <memory>

namespace quantfleet::coordinator {

class StoppingRule {
 public:
  // One format against its baseline in one area.
  class Question {
   public:
    virtual ~Question() = default;
    // `difference`: candidate's score minus the baseline's on one item, within -1..1; items come in the order of the suite. The verdict by
    // now, kUnknown: go on. It must hold its error rate for all times together; once given it stays.
    virtual Verdict add(double difference) = 0;
  };
  virtual ~StoppingRule() = default;
  virtual std::unique_ptr<Question> ask(double margin, double level) const = 0;
};

}  // namespace quantfleet::coordinator
