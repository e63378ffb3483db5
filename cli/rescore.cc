// quantfleet rescore: the stored answers of a run marked again by the scorers of this program, without a model. Shows what changed;
// the database stays as it is.
#include "agent/runner/suite_of_lease.h"
#include "agent/sandbox/sandbox.h"
#include "cli/commands.h"
#include "cli/run_report.h"
#include "cli/suites_root.h"
#include "contract/response_record.h"
#include "contract/twins.h"
#include "suites/suite.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <tuple>
#include <unordered_map>
#include <vector>

namespace quantfleet::cli {
namespace {

using Json = nlohmann::ordered_json;

struct Options {
  std::filesystem::path database, root;
  std::string run = "latest";
  std::vector<std::string> suites;
  bool json = false;
};

struct Change {
  std::string item;
  std::map<std::string, double> before, after;
  std::string error;  // why it can no longer be marked
};

// The rows of one suite under one (model, format, activations, KV cache).
struct Line {
  int rows = 0, rescored = 0, not_kept = 0;  // not_kept: from a program that did not keep answers, or an error then
  double before = 0, after = 0;              // sums of "accuracy" over rescored rows that have one
  int with_accuracy = 0;
  std::vector<Change> changes;
};

// A suite in one order of its options, with the index of each item.
struct OpenSuite {
  std::shared_ptr<const Suite> suite;
  std::unordered_map<std::string, int> index;
};

class Rescoring {
 public:
  explicit Rescoring(const Options& options) : options_(options) {}

  void run() {
    const auto results = read_run(options_.database, options_.run);
    if (!results) throw BadResult(results.error());
    run_ = results->run;
    choice_seeds_ = results->choice_seeds;
    for (const reports::Row& row : results->rows) {
      if (row.kind != "accuracy" || row.suite.empty()) continue;
      if (!options_.suites.empty() && std::find(options_.suites.begin(), options_.suites.end(), row.suite) == options_.suites.end()) continue;
      mark(row);
    }
    if (lines_.empty())
      throw BadResult({Code::kNotFound, fmt::format("run {} has no answers{} to mark", run_, options_.suites.empty() ? "" : " of these suites")});
  }

  Json json() const {
    Json document = {{"run", run_}, {"notes", notes_}, {"lines", Json::array()}};
    for (const auto& [key, line] : lines_) {
      const auto& [model, format, activations, kv, suite] = key;
      Json entry = {{"model", model}, {"format", format}, {"activations", activations}, {"kv", kv}, {"suite", suite}, {"rows", line.rows}, {"rescored", line.rescored}, {"not_kept", line.not_kept}};
      entry["accuracy_before"] = line.with_accuracy ? Json(line.before / line.with_accuracy) : Json(nullptr);
      entry["accuracy_after"] = line.with_accuracy ? Json(line.after / line.with_accuracy) : Json(nullptr);
      entry["changes"] = Json::array();
      for (const Change& change : line.changes)
        entry["changes"].push_back({{"item", change.item}, {"before", change.before}, {"after", change.after}, {"error", change.error.empty() ? Json(nullptr) : Json(change.error)}});
      document["lines"].push_back(std::move(entry));
    }
    return document;
  }

  void print() const {
    fmt::print("run {}: stored answers, marked again\n\n{:<16} {:<10} {:<8} {:<5} {:<20} {:>6} {:>8} {:>9} {:>9} {:>8}\n", run_, "model", "format", "act.", "kv", "suite", "rows", "rescored",
               "before", "after", "changed");
    for (const auto& [key, line] : lines_) {
      const auto& [model, format, activations, kv, suite] = key;
      const auto percent = [&](double sum) { return line.with_accuracy ? fmt::format("{:.1f} %", 100 * sum / line.with_accuracy) : std::string("-"); };
      fmt::print("{:<16} {:<10} {:<8} {:<5} {:<20} {:>6} {:>8} {:>9} {:>9} {:>8}\n", model, format, activations, kv, suite, line.rows, line.rescored, percent(line.before), percent(line.after),
                 line.changes.size());
    }
    for (const auto& [key, line] : lines_)
      for (std::size_t i = 0; i < std::min<std::size_t>(line.changes.size(), 5); ++i) {
        const Change& change = line.changes[i];
        fmt::print("\n{} {} {}: {}", std::get<1>(key), std::get<4>(key), change.item, change.error.empty() ? described(change) : change.error);
      }
    for (const std::string& note : notes_) fmt::print("\nnote: {}", note);
    fmt::print("\n");
  }

 private:
  static std::string described(const Change& change) {
    std::string text;
    std::map<std::string, double> names = change.before;
    names.insert(change.after.begin(), change.after.end());
    for (const auto& [name, value] : names) {
      const auto before = change.before.find(name), after = change.after.find(name);
      const auto shown = [](auto found, auto end) { return found == end ? std::string("absent") : fmt::format("{:g}", found->second); };
      if (before != change.before.end() && after != change.after.end() && before->second == after->second) continue;
      text += fmt::format("{}{} {} -> {}", text.empty() ? "" : ", ", name, shown(before, change.before.end()), shown(after, change.after.end()));
    }
    return text;
  }

  void note(const std::string& text) {
    if (std::find(notes_.begin(), notes_.end(), text) == notes_.end()) notes_.push_back(text);
  }

  const OpenSuite* suite_of(const std::string& name) {
    const auto known = suites_.find(name);
    if (known != suites_.end()) return known->second ? &*known->second : nullptr;
    std::optional<OpenSuite>& place = suites_[name];
    TwinName twin{name, 0};
    read_twin_name(name, twin);  // fresh twins are made again from their seed
    const auto seed = choice_seeds_.find(twin.original);
    auto suite = agent::suite_of_lease(options_.root, name, {seed == choice_seeds_.end() ? 0 : seed->second});
    if (!suite) {
      note(fmt::format("{} cannot be marked: {}", name, suite.error().detail));
      return nullptr;
    }
    place.emplace(OpenSuite{*suite, {}});
    for (int i = 0; i < place->suite->size(); ++i) place->index.emplace(place->suite->item_id(i).value, i);
    return &*place;
  }

  void mark(const reports::Row& row) {
    Line& line = lines_[{row.model, row.format, row.activations, row.kv, row.suite}];
    ++line.rows;
    const OpenSuite* open = suite_of(row.suite);
    if (!open) return;
    if (row.suite_sha256 != open->suite->info().sha256)
      note(fmt::format("{} is not the suite of the run ({} there, {} here): items of equal names are marked as they are here", row.suite, row.suite_sha256.substr(0, 12),
                       open->suite->info().sha256.substr(0, 12)));
    const auto response = kept_response(row.result);
    const auto index = open->index.find(row.result.item.value);
    if (!response || index == open->index.end()) {
      ++line.not_kept;
      return;
    }
    const ItemResult marked = open->suite->score(index->second, *response, &sandbox_);
    ++line.rescored;
    const auto accuracy = [](const ItemResult& one) {
      const auto found = one.scores.find("accuracy");
      return found == one.scores.end() ? std::optional<double>() : std::optional<double>(found->second);
    };
    if (const auto before = accuracy(row.result), after = accuracy(marked); before && after) {
      ++line.with_accuracy;
      line.before += *before;
      line.after += *after;
    }
    if (marked.error || marked.scores != row.result.scores)
      line.changes.push_back({row.result.item.value, row.result.scores, marked.scores, marked.error ? marked.error->detail : ""});
  }

  const Options& options_;
  const Sandbox sandbox_{};
  std::string run_;
  std::map<std::string, std::uint64_t> choice_seeds_;  // by suite: its options stood in the order of this seed
  std::map<std::tuple<std::string, std::string, std::string, std::string, std::string>, Line> lines_;
  std::map<std::string, std::optional<OpenSuite>> suites_;
  std::vector<std::string> notes_;
};

}  // namespace

std::function<int()> add_rescore(CLI::App& app) {
  auto options = std::make_shared<Options>();
  options->root = default_suites_root();
  app.add_option("RUN", options->run, "run id, a unique prefix of one, or latest [latest]");
  add_database_option(app, options->database);
  app.add_option("--suite", options->suites, "only these suites (default: all of the run)")->expected(1, 64);
  app.add_option("--root", options->root, "folder of suites (default: QUANTFLEET_SUITES, else the installed ones)");
  app.add_flag("--json", options->json, "one JSON document on stdout, with every row that changed");
  return [options] {
    Rescoring rescoring(*options);
    rescoring.run();
    if (options->json) fmt::print("{}\n", rescoring.json().dump(2, ' ', false, Json::error_handler_t::replace));
    else rescoring.print();
    return 0;
  };
}

}  // namespace quantfleet::cli
