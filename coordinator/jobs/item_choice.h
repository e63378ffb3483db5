// Which items of a suite tell most, for plans that ask for them (suites: {name, most_telling}). The coordinator asks once, when a plan is
// submitted; whoever can read the history and knows statistics answers (cli/informative_items.h).
#pragma once

#include "contract/job_spec.h"
#include "contract/messages.h"

#include <vector>

namespace quantfleet::coordinator {

class ItemChooser {
 public:
  virtual ~ItemChooser() = default;
  // `count` items with their probabilities of being chosen, by ascending index. `now`: seconds since 1970; the history leaves out what the
  // plan's own models did on that day.
  virtual Result<std::vector<ChosenItem>> choose(const SuiteInfo& suite, int count, const JobSpec& plan, double now) const = 0;
};

}  // namespace quantfleet::coordinator
