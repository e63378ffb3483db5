// Choosing the items that tell most from a results database: what coordinator/jobs/item_choice.h asks for.
#pragma once

#include "coordinator/jobs/item_choice.h"
#include "reports/statistics/informative.h"

#include <filesystem>
#include <string>
#include <vector>

namespace quantfleet::cli {

// By the item's index; `left_out`: models (by the submitted file's hash) whose rows of the day of `now` do not count.
Result<std::vector<statistics::FlipHistory>> flip_history(const std::filesystem::path& database, const SuiteInfo& suite,
                                                          const std::vector<std::string>& left_out, double now);

class HistoryChooser : public coordinator::ItemChooser {
 public:
  explicit HistoryChooser(std::filesystem::path database) : database_(std::move(database)) {}
  Result<std::vector<ChosenItem>> choose(const SuiteInfo& suite, int count, const JobSpec& plan, double now) const override;

 private:
  std::filesystem::path database_;
};

}  // namespace quantfleet::cli
