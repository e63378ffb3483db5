// Prometheus text. Names: contract/metric_names.h.
#pragma once

#include "coordinator/coordinator.h"
#include "coordinator/store/live_numbers.h"

#include <map>
#include <string>
#include <utility>

namespace quantfleet::coordinator {

struct CoreNumbers {
  std::map<std::pair<std::string, std::string>, int> units;  // (state, kind) of the runs in memory
  std::map<std::string, int> agents;                         // by state
  Counters counters;
};

CoreNumbers core_numbers(const Coordinator& core, Time now);
std::string metrics_text(const CoreNumbers& core, const LiveNumbers& live);

}  // namespace quantfleet::coordinator
