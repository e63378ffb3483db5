// quantfleet informative: the items of a suite by how often they flipped under quantization, from the runs of a results database.
#include "cli/commands.h"
#include "cli/informative_items.h"
#include "cli/run_report.h"
#include "cli/suites_root.h"
#include "suites/suite.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <memory>
#include <numeric>

namespace quantfleet::cli {

std::function<int()> add_informative(CLI::App& app) {
  struct Options {
    std::string suite;
    std::filesystem::path database, root;
    int items = 200, show = 20;
    bool json = false;
  };
  auto options = std::make_shared<Options>();
  app.add_option("SUITE", options->suite, "suite, as `quantfleet suites list` names it")->required();
  add_database_option(app, options->database);
  options->root = default_suites_root();
  app.add_option("--root", options->root, "folder of suites")->capture_default_str();
  app.add_option("--items", options->items, "size of the sample that the probabilities are for (plan: most_telling)")->check(CLI::Range(1, 10'000))->capture_default_str();
  app.add_option("--show", options->show, "lines of the table; 0: all")->check(CLI::Range(0, 1'000'000))->capture_default_str();
  app.add_flag("--json", options->json, "every item in one JSON document on stdout");
  return [options] {
    const auto loaded = find_suite(options->root, options->suite).value();
    const SuiteInfo& suite = loaded->info();
    const auto history = flip_history(options->database, suite, {}, 0).value();
    const std::vector<double> rates = statistics::flip_rates(history);
    const std::vector<double> probabilities = statistics::inclusion_probabilities(rates, options->items);
    std::vector<std::size_t> order(history.size());
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return rates[a] > rates[b]; });
    std::int64_t comparisons = 0, flips = 0;
    for (const auto& item : history) comparisons += item.comparisons, flips += item.flips;
    if (options->json) {
      nlohmann::ordered_json document = {{"suite", suite.name}, {"sha256", suite.sha256}, {"items", suite.items}, {"sample", options->items},
                                         {"comparisons", comparisons}, {"flips", flips}, {"ranking", nlohmann::ordered_json::array()}};
      for (const std::size_t i : order)
        document["ranking"].push_back({{"item", loaded->item_id(static_cast<int>(i)).value}, {"index", i}, {"comparisons", history[i].comparisons},
                                       {"flips", history[i].flips}, {"flip_rate", rates[i]}, {"probability", probabilities[i]}});
      fmt::print("{}\n", document.dump(2));
      return 0;
    }
    if (comparisons == 0) fmt::print(stderr, "no run in {} compared formats on this version of {}: every item is as likely as any\n", options->database.string(), suite.name);
    fmt::print("{}: {} items, {} comparisons with a baseline, {} flips\n\n{:<24} {:>11} {:>6} {:>10} {:>16}\n", suite.name, suite.items, comparisons, flips, "item",
               "comparisons", "flips", "flip rate", fmt::format("in {} of {}", std::min(options->items, suite.items), suite.items));
    const std::size_t lines = options->show == 0 ? order.size() : std::min(order.size(), static_cast<std::size_t>(options->show));
    for (std::size_t line = 0; line < lines; ++line) {
      const std::size_t i = order[line];
      fmt::print("{:<24} {:>11} {:>6} {:>9.1f}% {:>15.1f}%\n", loaded->item_id(static_cast<int>(i)).value, history[i].comparisons, history[i].flips, 100 * rates[i],
                 100 * probabilities[i]);
    }
    return 0;
  };
}

}  // namespace quantfleet::cli
