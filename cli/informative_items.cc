#include "cli/informative_items.h"

#include "coordinator/store/results_reader.h"

namespace quantfleet::cli {

Result<std::vector<statistics::FlipHistory>> flip_history(const std::filesystem::path& database, const SuiteInfo& suite,
                                                          const std::vector<std::string>& left_out, double now) {
  Result<std::unique_ptr<ResultsReader>> reader = open_results(database);
  if (!reader) return reader.error();
  const Result<std::vector<ItemFlips>> flips = (*reader)->item_flips(suite.name, suite.sha256, left_out, now);
  if (!flips) return flips.error();
  std::vector<statistics::FlipHistory> history(static_cast<std::size_t>(suite.items));
  for (const ItemFlips& item : *flips)
    if (item.index >= 0 && item.index < suite.items) history[static_cast<std::size_t>(item.index)] = {item.comparisons, item.flips};
  return history;
}

Result<std::vector<ChosenItem>> HistoryChooser::choose(const SuiteInfo& suite, int count, const JobSpec& plan, double now) const {
  std::vector<std::string> judged;
  for (const ModelSpec& model : plan.models) judged.push_back(model.sha256);
  const auto history = flip_history(database_, suite, judged, now);
  if (!history) return history.error();
  const std::vector<double> probabilities = statistics::inclusion_probabilities(statistics::flip_rates(*history), count);
  std::vector<ChosenItem> chosen;
  for (const int index : statistics::draw_items(probabilities, plan.seed))
    chosen.push_back({index, probabilities[static_cast<std::size_t>(index)]});
  return chosen;
}

}  // namespace quantfleet::cli
