#include "reports/tables/terminal.h"

#include "reports/tables/text_table.h"
#include "reports/tables/words.h"

#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <set>

namespace quantfleet::reports {
namespace {

struct Cell {
  Column column;
  std::function<std::string(const FormatSummary&, const Speed*)> say;
};

// What a line is called: the format, with model and activations where a run has several.
struct Naming {
  bool models = false, activations = false, kv = false, devices = false;
};

Naming naming_of(const RunSummary& summary) {
  std::set<std::string> models, formats_seen, devices;
  std::set<std::pair<std::string, std::string>> lines;
  Naming naming;
  for (const FormatSummary& f : summary.formats) {
    models.insert(f.model);
    if (!lines.insert({f.model, f.format}).second) naming.activations = true;
    naming.kv = naming.kv || f.kv != "f32";
    for (const Speed& speed : f.speeds) devices.insert(speed.device);
  }
  naming.models = models.size() > 1;
  naming.devices = devices.size() > 1;
  return naming;
}

bool served(const FormatSummary& f) { return !f.engine.empty() && f.engine != "native"; }

std::vector<Cell> name_cells(const Naming& naming) {
  std::vector<Cell> cells;
  if (naming.models) cells.push_back({{"model", false}, [](const FormatSummary& f, const Speed*) { return f.model; }});
  cells.push_back({{"format", false}, [](const FormatSummary& f, const Speed*) { return f.format; }});
  cells.push_back({{"act.", false}, [](const FormatSummary& f, const Speed*) { return served(f) ? f.engine : f.activations; }});  // a server's are its own affair
  if (naming.kv) cells.push_back({{"kv", false}, [](const FormatSummary& f, const Speed*) { return served(f) ? f.engine : f.kv; }});
  return cells;
}

std::vector<Cell> accuracy_cells(const RunSummary& summary) {
  std::vector<Cell> cells = {
      {{"bits/w", true}, [](const FormatSummary& f, const Speed*) { return say(f.bits_per_weight, "{:.2f}"); }},
      {{"size", true}, [](const FormatSummary& f, const Speed*) { return f.size_bytes.value ? say_bytes(*f.size_bytes.value) : "n/a"; }},
  };
  for (const std::string& area : summary.areas) {
    cells.push_back({{area, true}, [area](const FormatSummary& f, const Speed*) {
                       const auto found = f.area_accuracy.find(area);
                       return found == f.area_accuracy.end() || found->second.count == 0
                                  ? std::string("n/a")
                                  : fmt::format("{:.1f}", 100 * found->second.value);
                     }});
  }
  cells.push_back({{"retention [95 %]", true}, [](const FormatSummary& f, const Speed*) { return say_retention(f); }});
  cells.push_back({{"lost/gained", true}, [](const FormatSummary& f, const Speed*) {
                     return f.pooled ? say_flips(f.pooled->lost, f.pooled->gained) : std::string(f.is_baseline ? "" : "n/a");
                   }});
  cells.push_back({{"perplexity", true}, [](const FormatSummary& f, const Speed*) { return say(f.perplexity, "{:.3f}"); }});
  cells.push_back({{"KL div.", true}, [](const FormatSummary& f, const Speed*) {
                     return f.is_baseline && !f.kl_divergence.value ? std::string() : say(f.kl_divergence, "{:.5f}");
                   }});
  return cells;
}

std::vector<Cell> speed_cells(const Naming& naming) {
  const auto of = [](Measured Speed::*member, const char* format) {
    return [member, format](const FormatSummary&, const Speed* s) { return s ? say(s->*member, format) : std::string("n/a"); };
  };
  std::vector<Cell> cells;
  if (naming.devices)
    cells.push_back({{"device", false}, [](const FormatSummary&, const Speed* s) { return s ? s->device : std::string("n/a"); }});
  cells.push_back({{"prefill t/s", true}, of(&Speed::prefill_tokens_per_s, "{:.0f}")});
  cells.push_back({{"decode t/s", true}, of(&Speed::decode_tokens_per_s, "{:.0f}")});
  cells.push_back({{"first token ms p50/p95", true}, [](const FormatSummary&, const Speed* s) {
                     return s ? say(s->first_token_ms_p50, "{:.1f}") + " / " + say(s->first_token_ms_p95, "{:.1f}") : std::string("n/a");
                   }});
  cells.push_back({{"peak mem.", true}, [](const FormatSummary&, const Speed* s) {
                     return s && s->peak_memory_bytes.value ? say_bytes(*s->peak_memory_bytes.value) : std::string("n/a");
                   }});
  cells.push_back({{"J/token", true}, of(&Speed::energy_j_per_token, "{:.4f}")});
  return cells;
}

Cell verdict_cell() {
  return {{"verdict", false}, [](const FormatSummary& f, const Speed*) { return say_verdict(f); }};
}

TextTable build(const RunSummary& summary, const std::vector<Cell>& cells, bool line_per_device) {
  std::vector<Column> columns;
  for (const Cell& cell : cells) columns.push_back(cell.column);
  TextTable table(columns);
  for (const FormatSummary& f : summary.formats) {
    const std::size_t lines = line_per_device ? std::max<std::size_t>(1, f.speeds.size()) : 1;
    for (std::size_t i = 0; i < lines; ++i) {
      const Speed* speed = i < f.speeds.size() ? &f.speeds[i] : nullptr;
      std::vector<std::string> row;
      for (const Cell& cell : cells) row.push_back(cell.say(f, speed));
      table.add(std::move(row));
    }
  }
  return table;
}

std::vector<Cell> joined(std::initializer_list<std::vector<Cell>> parts) {
  std::vector<Cell> all;
  for (const auto& part : parts) all.insert(all.end(), part.begin(), part.end());
  return all;
}

std::string footnotes(const RunSummary& summary) {
  std::set<std::string> energy, unmeasurable;
  bool several_kinds = false;
  bool several_caches = false;
  std::string baseline_kind, baseline_kv;
  for (const FormatSummary& f : summary.formats)
    if (f.is_baseline && !served(f)) baseline_kind = f.activations, baseline_kv = f.kv;
  for (const FormatSummary& f : summary.formats) {
    several_caches = several_caches || (!served(f) && !baseline_kv.empty() && f.kv != baseline_kv);
    several_kinds = several_kinds || (!served(f) && !baseline_kind.empty() && f.activations != baseline_kind);
    for (const Speed& speed : f.speeds)
      if (!speed.energy_j_per_token.value) energy.insert(speed.energy_j_per_token.reason);
    if (!f.pooled) continue;
    for (const auto& area : f.pooled->areas)
      if (!area.retention) unmeasurable.insert(area.area);
  }
  std::string out;
  for (const std::string& reason : energy) out += fmt::format("  J/token n/a: {}\n", reason);
  for (const std::string& area : unmeasurable)
    out += fmt::format("  {}: retention not measurable, the baseline's own interval touches chance; left out of the mean\n", area);
  if (several_kinds)
    out += fmt::format("  act.: activations the engine used; the baseline ran with {}, so {}\n", baseline_kind,
                       baseline_kind == "int8" ? "rows of f32 are spared the 8-bit activations that it pays for" : "rows of int8 also pay for 8-bit activations");
  if (several_caches)
    out += fmt::format("  kv: what the KV cache held; the baseline ran with {}, so other rows also pay for another cache\n", baseline_kv);
  for (const std::string& note : summary.notes) out += "  " + note + "\n";
  return out;
}

std::string area_verdict_table(const RunSummary& summary, const Naming& naming) {
  if (summary.area_verdicts.empty()) return {};
  std::vector<Column> columns = {{"format", false}, {"area", false}, {"verdict", false}, {"after items", true}, {"of", true}, {"difference", true}, {"interval", true}};
  if (naming.models) columns.insert(columns.begin(), {"model", false});
  if (naming.activations) columns.push_back({"act.", false});
  if (naming.kv) columns.push_back({"kv", false});
  const bool devices = std::any_of(summary.area_verdicts.begin(), summary.area_verdicts.end(), [](const AreaVerdict& v) { return !v.device.empty(); });
  if (devices) columns.push_back({"device", false});
  TextTable table(columns);
  for (const AreaVerdict& v : summary.area_verdicts) {
    std::vector<std::string> row = {v.format, v.area, std::string(name_of(v.verdict)), std::to_string(v.items), std::to_string(v.available),
                                    fmt::format("{:+.1f}", 100 * v.difference), fmt::format("[{:+.1f}, {:+.1f}]", 100 * v.interval.low, 100 * v.interval.high)};
    if (naming.models) row.insert(row.begin(), v.model);
    if (naming.activations) row.push_back(v.activations);
    if (naming.kv) row.push_back(v.kv);
    if (devices) row.push_back(v.device);
    table.add(std::move(row));
  }
  return table.text() + "\n";
}

std::string points(const statistics::Estimate& e, const statistics::Interval& i) {
  return fmt::format("{:+.1f} [{:+.1f}, {:+.1f}]", 100 * e.value, 100 * i.low, 100 * i.high);
}

std::string chosen_table(const RunSummary& summary, const Naming& naming) {
  if (summary.chosen.empty()) return {};
  std::vector<Column> columns = {{"suite", false}, {"format", false}, {"items", true}, {"of", true}, {"accuracy", true}, {"difference", true}, {"lost/gained", true}, {"changed", false}};
  if (naming.models) columns.insert(columns.begin(), {"model", false});
  if (naming.activations) columns.push_back({"act.", false});
  if (naming.kv) columns.push_back({"kv", false});
  TextTable table(columns);
  for (const ChosenLine& c : summary.chosen) {
    std::vector<std::string> row = {c.suite, c.format, std::to_string(c.items), std::to_string(c.of), points(c.accuracy, c.accuracy_interval),
                                    c.difference ? points(*c.difference, c.difference_interval) : "", c.difference ? say_flips(c.lost, c.gained) : "",
                                    !c.difference ? "" : c.lost + c.gained > 0 ? "yes" : "no flip seen"};
    if (naming.models) row.insert(row.begin(), c.model);
    if (naming.activations) row.push_back(c.activations);
    if (naming.kv) row.push_back(c.kv);
    table.add(std::move(row));
  }
  return "Items that tell most: estimates for the whole suite, weighted by inclusion probability (95 % intervals, points)\n" + table.text() + "\n";
}

std::string points(const statistics::Estimate& e) { return fmt::format("{:+.1f} ± {:.1f}", 100 * e.value, 100 * e.standard_error); }

std::string twin_tables(const RunSummary& summary, const Naming& naming) {
  std::string out;
  const auto name = [&](const auto& line) {
    return (naming.models ? line.model + " " : "") + line.format + (naming.activations ? " " + line.activations : "") + (naming.kv ? " " + line.kv : "");
  };
  if (!summary.twins.empty()) {
    TextTable table({{"suite", false}, {"format", false}, {"static", true}, {"fresh", true}, {"fresh - static", true}, {"loss static", true}, {"loss fresh", true}, {"items", true}});
    for (const TwinLine& t : summary.twins)
      table.add({t.suite, name(t), fmt::format("{:.1f}", 100 * t.original.value), fmt::format("{:.1f}", 100 * t.fresh.value), points(t.difference),
                 t.original_loss ? points(*t.original_loss) : "", t.fresh_loss ? points(*t.fresh_loss) : "", std::to_string(t.difference.count)});
    out += fmt::format("Fresh twins, seed {}: items paired with their twins, formats with the baseline (± standard error, points)\n", summary.twins.front().seed) +
           table.text() + "\n";
  }
  if (!summary.twin_nights.empty()) {
    TextTable table({{"suite", false}, {"format", false}, {"seed", true}, {"fresh", true}, {"seed", true}, {"fresh", true}, {"difference", true}});
    for (const TwinNights& t : summary.twin_nights)
      table.add({t.suite, name(t), std::to_string(t.seed_before), fmt::format("{:.1f}", 100 * t.before.value), std::to_string(t.seed_after),
                 fmt::format("{:.1f}", 100 * t.after.value), points(t.difference)});
    out += "Fresh twins of two nights: different items, so unpaired (± standard error, points)\n" + table.text() + "\n";
  }
  return out;
}

}  // namespace

std::string terminal_table(const RunSummary& summary, std::size_t width) {
  const Naming naming = naming_of(summary);
  std::string out = fmt::format("Run {} ({}), baseline {}. Accuracies in %.\n\n", summary.run, summary.status, summary.baseline);
  const TextTable whole =
      build(summary, joined({name_cells(naming), accuracy_cells(summary), speed_cells(naming), {verdict_cell()}}), naming.devices);
  if ((width == 0 || whole.width() <= width) && !naming.devices) {
    out += whole.text();
  } else {
    out += build(summary, joined({name_cells(naming), accuracy_cells(summary), {verdict_cell()}}), false).text();
    out += "\n" + build(summary, joined({name_cells(naming), speed_cells(naming)}), true).text();
  }
  out += "\n" + area_verdict_table(summary, naming) + chosen_table(summary, naming) + twin_tables(summary, naming) + footnotes(summary);
  if (summary.digests_compared > 0 && summary.mismatches.empty())
    out += fmt::format("  {} items were computed on more than one device: every logits digest agrees\n", summary.digests_compared);
  out += summary.until ? fmt::format("  Verdict: SAME where every area is, WORSE where one is; margin {:.4g} points, each at {:.4g} %, valid at any time.\n",
                                     100 * summary.until->margin, 100 * summary.until->level)
                       : "  Verdict: pooled accuracy, non-inferiority with a margin of 2 points, one-sided 5 %.\n";
  return out;
}

}  // namespace quantfleet::reports
