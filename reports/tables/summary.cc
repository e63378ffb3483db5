#include "reports/tables/summary.h"

#include "contract/twins.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <cmath>
#include <set>
#include <tuple>

namespace quantfleet::reports {
namespace {

using statistics::Estimate;
using statistics::quantile;

constexpr const char* kAreaOrder[] = {"reasoning", "coding", "math", "language", "knowledge", "safety"};

// What one line of the table stands for.
using Line = std::tuple<std::string, std::string, std::string, std::string>;  // model, format, activations, KV cache

Line line_of(const Row& row) { return {row.model, row.format, row.activations, row.kv}; }

// The rows of one line by suite and item: the first device by name stands for the item.
using Items = std::map<std::string, const Row*>;                // by item id
using BySuite = std::map<std::string, Items>;                   // by suite

struct Selected {
  std::map<Line, BySuite> accuracy;
  std::map<Line, std::map<std::string, std::vector<const Row*>>> timing;  // by device
  std::vector<DigestMismatch> mismatches;
  int digests_compared = 0;
};

Selected select(const std::vector<Row>& rows) {
  Selected selected;
  std::vector<const Row*> ordered;
  for (const Row& row : rows) ordered.push_back(&row);
  std::stable_sort(ordered.begin(), ordered.end(), [](const Row* a, const Row* b) { return a->device < b->device; });
  for (const Row* row : ordered) {
    if (row->kind == "timing") {
      selected.timing[line_of(*row)][row->device].push_back(row);
      continue;
    }
    const Row*& place = selected.accuracy[line_of(*row)][row->suite][row->result.item.value];
    if (!place) {
      place = row;
      continue;
    }
    if (place->result.error && !row->result.error) {
      place = row;  // an answer beats a failure
      continue;
    }
    if (place->result.logits_digest.empty() || row->result.logits_digest.empty() || place->device == row->device) continue;
    ++selected.digests_compared;
    if (place->result.logits_digest != row->result.logits_digest)
      selected.mismatches.push_back({row->suite, row->result.item.value, row->format, place->device, row->device});
  }
  return selected;
}

const SuiteInfo* find_suite(const std::vector<SuiteInfo>& suites, const std::string& name) {
  for (const SuiteInfo& suite : suites)
    if (suite.name == name) return &suite;
  return nullptr;
}

bool has_right_answers(const SuiteInfo& suite) { return suite.kind != "rolling"; }

std::optional<double> score(const Row& row, const char* name) {
  if (row.result.error) return std::nullopt;
  const auto found = row.result.scores.find(name);
  if (found == row.result.scores.end() || !std::isfinite(found->second)) return std::nullopt;
  return found->second;
}

Measured measured(double value, double standard_error = 0) { return {value, standard_error, {}}; }
Measured unmeasured(std::string reason) { return {std::nullopt, 0, std::move(reason)}; }

// Why the rows of one suite are no pairs: an item was asked in another way of one side. Empty where all were asked alike (or by
// programs that kept no hash of what they asked).
std::string why_no_pairs(const SuiteInfo& suite, const Items& baseline, const Items& candidate) {
  int other_requests = 0;
  std::string first;
  for (const auto& [item, row] : candidate) {
    const auto other = baseline.find(item);
    if (other == baseline.end()) continue;
    const std::string &a = other->second->result.request_sha256, &b = row->result.request_sha256;
    if (a.empty() || b.empty() || a == b) continue;
    if (other_requests++ == 0)
      first = fmt::format("item {}: request {} for {}, {} for {}", item, a.substr(0, 12), other->second->format, b.substr(0, 12), row->format);
  }
  if (other_requests == 0) return {};
  return fmt::format("suite {}: {} of {} items were not asked in the same words, options and seed of {} as of the baseline (first: {}): not compared", suite.name,
                     other_requests, candidate.size(), candidate.begin()->second->format, first);
}

bool all_failed(const Items& items) {
  return std::all_of(items.begin(), items.end(), [](const auto& item) { return item.second->result.error.has_value(); });
}

// Paired accuracies of one suite: a pair for each item, over the samples of it that both sides answered.
statistics::PairedArea paired(const SuiteInfo& suite, const Items& baseline, const Items& candidate) {
  statistics::PairedArea area{suite.area, suite.chance, {}, {}};
  struct Pair {
    double baseline = 0, candidate = 0;
    int samples = 0;
  };
  std::map<std::string_view, Pair> pairs;
  for (const auto& [item, row] : candidate) {
    const auto other = baseline.find(item);
    if (other == baseline.end() || other->second->suite_sha256 != row->suite_sha256) continue;
    const auto a = score(*other->second, "accuracy"), b = score(*row, "accuracy");
    if (!a || !b) continue;
    Pair& pair = pairs[item_of(item)];
    pair.baseline += *a;
    pair.candidate += *b;
    ++pair.samples;
  }
  for (const auto& [item, pair] : pairs) {
    area.baseline.push_back(pair.baseline / pair.samples);
    area.candidate.push_back(pair.candidate / pair.samples);
  }
  return area;
}

void add_perplexity(FormatSummary& line, const std::vector<SuiteInfo>& suites, const BySuite& by_suite, bool is_reference) {
  double nll = 0, squares = 0, tokens = 0, kl = 0, agreement = 0, compared_tokens = 0, delta_p = 0, delta_p_squares = 0, delta_p_tokens = 0;
  std::vector<double> kl_values;
  bool any_suite = false;
  std::string failure;
  for (const auto& [name, items] : by_suite) {
    const SuiteInfo* suite = find_suite(suites, name);
    if (!suite || has_right_answers(*suite)) continue;
    any_suite = true;
    for (const auto& [item, row] : items) {
      if (row->result.error) {
        failure = row->result.error->detail;
        continue;
      }
      const auto item_nll = score(*row, "nll"), item_tokens = score(*row, "tokens");
      if (!item_nll || !item_tokens) continue;
      nll += *item_nll;
      squares += score(*row, "nll_squared").value_or(0);
      tokens += *item_tokens;
      const auto item_kl = score(*row, "kl_divergence_sum");
      if (!item_kl) continue;
      kl += *item_kl;
      agreement += score(*row, "top1_agreement_sum").value_or(0);
      compared_tokens += *item_tokens;
      if (const auto item_delta_p = score(*row, "delta_p_sum")) {
        delta_p += *item_delta_p;
        delta_p_squares += score(*row, "delta_p_squared_sum").value_or(0);
        delta_p_tokens += *item_tokens;
      }
      const auto series = row->result.series.find("kl_divergence");
      if (series != row->result.series.end()) kl_values.insert(kl_values.end(), series->second.begin(), series->second.end());
    }
  }
  if (tokens < 2) {
    const std::string reason = !any_suite ? "no text suite in the plan" : failure.empty() ? "no rows" : failure;
    line.perplexity = line.kl_divergence = line.kl_divergence_p99 = line.top1_agreement = line.delta_p = unmeasured(reason);
    return;
  }
  const double mean_nll = nll / tokens;
  const double variance = std::max(0.0, squares / tokens - mean_nll * mean_nll);
  const double perplexity = std::exp(mean_nll);
  line.perplexity = measured(perplexity, squares > 0 ? perplexity * std::sqrt(variance / (tokens - 1)) : 0);
  if (compared_tokens < 2) {
    const std::string reason = is_reference ? "it is the reference" : "no reference logits";
    line.kl_divergence = line.kl_divergence_p99 = line.top1_agreement = line.delta_p = unmeasured(reason);
    return;
  }
  const double p = agreement / compared_tokens;
  line.top1_agreement = measured(p, std::sqrt(p * (1 - p) / (compared_tokens - 1)));
  if (delta_p_tokens < 2) {
    line.delta_p = unmeasured("rows of an earlier version");
  } else {
    const double mean_delta = delta_p / delta_p_tokens, delta_variance = std::max(0.0, delta_p_squares / delta_p_tokens - mean_delta * mean_delta);
    line.delta_p = measured(mean_delta, std::sqrt(delta_variance / (delta_p_tokens - 1)));
  }
  line.kl_divergence = measured(kl / compared_tokens, kl_values.empty() ? 0 : statistics::mean(kl_values).standard_error);
  line.kl_divergence_p99 =
      kl_values.empty() ? unmeasured("per-token values were not kept") : measured(quantile(kl_values, 0.99));
}

// Collects one score over repetitions; `absent` explains what is missing when there is none.
std::vector<double> collect(const std::vector<const Row*>& rows, const char* name) {
  std::vector<double> values;
  for (const Row* row : rows)
    if (const auto value = score(*row, name)) values.push_back(*value);
  return values;
}

Measured at_quantile(const std::vector<const Row*>& rows, const char* name, double p, const std::string& absent) {
  const std::vector<double> values = collect(rows, name);
  return values.empty() ? unmeasured(absent) : measured(quantile(values, p));
}

statistics::Interval range(const std::vector<double>& values) {
  if (values.empty()) return {};
  const auto [low, high] = std::minmax_element(values.begin(), values.end());
  return {*low, *high};
}

std::string energy_reason(const RunResults& results, const Line& line, const std::string& device) {
  for (const Telemetry& t : results.telemetry)
    if (t.kind == "timing" && t.device == device && line == Line{t.model, t.format, t.activations, t.kv} &&
        t.series.name == "energy_j" && t.series.coverage == 0)
      return t.series.reason;
  return "no energy counter was read";
}

Speed speed_of(const RunResults& results, const Line& line, const std::string& device, const std::vector<const Row*>& rows) {
  Speed speed;
  speed.device = device;
  speed.kernels = rows.front()->kernels;
  speed.repetitions = static_cast<int>(rows.size());
  speed.ran_alone = std::all_of(rows.begin(), rows.end(), [](const Row* row) { return row->ran_alone; });
  std::string absent = "not timed";
  for (const Row* row : rows)
    if (row->result.error) absent = row->result.error->detail;
  speed.prefill_tokens_per_s = at_quantile(rows, "prefill_tokens_per_s", 0.5, absent);
  speed.decode_tokens_per_s = at_quantile(rows, "decode_tokens_per_s", 0.5, absent);
  speed.prefill_range = range(collect(rows, "prefill_tokens_per_s"));
  speed.decode_range = range(collect(rows, "decode_tokens_per_s"));
  speed.first_token_ms_p50 = at_quantile(rows, "first_token_ms", 0.5, absent);
  speed.first_token_ms_p95 = at_quantile(rows, "first_token_ms", 0.95, absent);
  speed.inter_token_ms_p50 = at_quantile(rows, "inter_token_ms_p50", 0.5, absent);
  speed.inter_token_ms_p95 = at_quantile(rows, "inter_token_ms_p95", 0.5, absent);
  const std::vector<double> memory = collect(rows, "peak_memory_bytes");
  speed.peak_memory_bytes = memory.empty() ? unmeasured(absent) : measured(*std::max_element(memory.begin(), memory.end()));
  for (const Telemetry& t : results.telemetry)
    if (memory.empty() && t.kind == "timing" && t.device == device && line == Line{t.model, t.format, t.activations, t.kv} &&
        t.series.name == "peak_memory_bytes" && t.series.coverage > 0)
      speed.peak_memory_bytes = measured(t.series.max);
  const std::vector<double> energy = collect(rows, "energy_j_per_token");
  if (energy.empty())
    speed.energy_j_per_token = unmeasured(energy_reason(results, line, device));
  else
    speed.energy_j_per_token = measured(quantile(energy, 0.5));
  return speed;
}

// Suites of one area are one stratum: their items together, chance weighted by items.
std::vector<statistics::PairedArea> join_areas(const std::vector<statistics::PairedArea>& suites) {
  std::map<std::string, statistics::PairedArea> areas;
  for (const statistics::PairedArea& suite : suites) {
    if (suite.baseline.empty()) continue;
    statistics::PairedArea& area = areas[suite.area];
    const double before = static_cast<double>(area.baseline.size()), added = static_cast<double>(suite.baseline.size());
    area.area = suite.area;
    area.chance = (area.chance * before + suite.chance * added) / (before + added);
    area.baseline.insert(area.baseline.end(), suite.baseline.begin(), suite.baseline.end());
    area.candidate.insert(area.candidate.end(), suite.candidate.begin(), suite.candidate.end());
  }
  std::vector<statistics::PairedArea> joined;
  for (auto& [name, area] : areas) joined.push_back(std::move(area));
  return joined;
}

FormatSummary summarize_line(const RunResults& results, const Selected& selected, const Line& line, const BySuite* baseline,
                             bool is_baseline) {
  FormatSummary summary;
  std::tie(summary.model, summary.format, summary.activations, summary.kv) = line;
  summary.is_baseline = is_baseline;
  summary.bits_per_weight = summary.size_bytes = unmeasured("the file was not recorded");
  for (const FormatFile& file : results.files) {
    if (file.model != summary.model || file.format != summary.format) continue;
    summary.model_sha256 = file.sha256;
    summary.size_bytes = measured(static_cast<double>(file.size_bytes));
    if (file.bits_per_weight > 0) summary.bits_per_weight = measured(file.bits_per_weight);
  }

  static const BySuite kNone;
  const auto found = selected.accuracy.find(line);
  const BySuite& by_suite = found == selected.accuracy.end() ? kNone : found->second;
  std::vector<statistics::PairedArea> pairs;
  std::map<std::string, std::vector<double>> area_scores;
  for (const SuiteInfo& suite : results.suites) {
    const auto items = by_suite.find(suite.name);
    if (items == by_suite.end()) continue;
    SuiteScore suite_score;
    suite_score.suite = suite;
    std::vector<const ItemResult*> rows;
    std::string first_error;
    for (const auto& [item, row] : items->second) {
      rows.push_back(&row->result);
      if (summary.program_version.empty()) summary.program_version = row->program_version;
      if (summary.model_sha256.empty()) summary.model_sha256 = row->model_sha256;
      if (summary.lora.empty()) summary.lora = row->lora;
      if (summary.engine.empty()) summary.engine = row->engine;
      ++suite_score.items;
      if (!row->result.error) continue;
      if (suite_score.errors++ == 0) first_error = fmt::format("item {}: {}", item, row->result.error->detail);
    }
    if (suite_score.errors > 0)
      summary.failed_items.push_back(fmt::format("{} {}, suite {}: {} of {} items failed and are in no number ({}{})", summary.model, summary.format, suite.name,
                                                 suite_score.errors, suite_score.items, suite_score.errors > 1 ? "first: " : "", first_error));
    summary.items += suite_score.items;
    summary.errors += suite_score.errors;
    if (!has_right_answers(suite)) {
      summary.texts[suite.name] = aggregates_of(rows, suite.aggregation);
      continue;
    }
    const std::vector<double> values = values_by_item(rows, "accuracy");
    suite_score.accuracy = statistics::mean(values);
    suite_score.aggregates = aggregates_of(rows, suite.aggregation);
    suite_score.groups = accuracy_by_group(rows);
    const bool counts = !is_twin(suite.name) && !is_chosen(results, suite.name);  // they have tables of their own
    suite_score.unanswered = suite_score.errors == suite_score.items;
    if (counts && !values.empty()) {
      auto& of_area = area_scores[suite.area];
      of_area.insert(of_area.end(), values.begin(), values.end());
    }
    if (baseline && !is_baseline) {
      const auto base_items = baseline->find(suite.name);
      if (base_items != baseline->end()) {
        suite_score.not_compared = why_no_pairs(suite, base_items->second, items->second);
        const bool baseline_failed = all_failed(base_items->second);
        if (suite_score.unanswered || baseline_failed)
          suite_score.not_compared = fmt::format("suite {}: no item of {} was answered: not compared", suite.name, suite_score.unanswered ? summary.format : "the baseline");
        suite_score.unanswered |= baseline_failed;
      }
      if (base_items != baseline->end() && suite_score.not_compared.empty()) {
        const statistics::PairedArea pair = paired(suite, base_items->second, items->second);
        const statistics::PooledRetention alone = statistics::compare(std::span(&pair, 1), results.seed);
        if (!alone.areas.empty()) {
          suite_score.against_baseline = alone.areas.front();
          suite_score.verdict = alone.verdict;
          if (counts) pairs.push_back(pair);
        }
      }
    }
    summary.suites.push_back(std::move(suite_score));
  }
  for (const auto& [area, values] : area_scores) summary.area_accuracy[area] = statistics::mean(values);
  if (!pairs.empty()) summary.pooled = statistics::compare(join_areas(pairs), results.seed);
  add_perplexity(summary, results.suites, by_suite, is_baseline);
  if (const auto timed = selected.timing.find(line); timed != selected.timing.end())
    for (const auto& [device, rows] : timed->second) summary.speeds.push_back(speed_of(results, line, device, rows));
  return summary;
}

// Lines in the order of the table: per model and activations, the baseline first, then the plan's order of formats.
std::vector<Line> ordered_lines(const RunResults& results, const Selected& selected) {
  std::set<Line> present;
  for (const auto& [line, rows] : selected.accuracy) present.insert(line);
  for (const auto& [line, rows] : selected.timing) present.insert(line);
  std::vector<Line> lines(present.begin(), present.end());
  const auto rank = [&](const std::string& format) {
    if (format == results.baseline) return -1L;
    return std::find(results.formats.begin(), results.formats.end(), format) - results.formats.begin();
  };
  std::stable_sort(lines.begin(), lines.end(), [&](const Line& a, const Line& b) {
    return std::tuple(std::get<0>(a), rank(std::get<1>(a)), std::get<2>(a), std::get<3>(a) != results.baseline_kv, std::get<3>(a)) <
           std::tuple(std::get<0>(b), rank(std::get<1>(b)), std::get<2>(b), std::get<3>(b) != results.baseline_kv, std::get<3>(b));
  });
  return lines;
}

void head_of(const RunResults& results, const Selected& selected, RunSummary& summary) {
  summary.run = results.run;
  summary.name = results.name;
  summary.status = results.status;
  summary.created = results.created;
  summary.baseline = results.baseline;
  summary.suites = results.suites;
  summary.devices = results.devices;
  summary.mismatches = selected.mismatches;
  summary.digests_compared = selected.digests_compared;
  std::set<std::string> present;
  for (const SuiteInfo& suite : results.suites)
    if (has_right_answers(suite)) present.insert(suite.area);
  for (const char* area : kAreaOrder)
    if (present.erase(area)) summary.areas.push_back(area);
  summary.areas.insert(summary.areas.end(), present.begin(), present.end());
  for (const SuiteInfo& suite : results.suites)
    if (!suite.not_runnable.empty()) summary.notes.push_back(fmt::format("suite {} was not run: {}", suite.name, suite.not_runnable));
  for (const auto& [suite, seed] : results.choice_seeds)
    summary.notes.push_back(fmt::format("suite {}: the options of each question stand in an order drawn from seed {}", suite, seed));
  summary.notes.insert(summary.notes.end(), results.failures.begin(), results.failures.end());
  if (!selected.mismatches.empty()) {
    const DigestMismatch& first = selected.mismatches.front();
    summary.notes.push_back(
        fmt::format("{} of {} logits digests differ between devices (first: suite {}, item {}, format {}, {} against {}): "
                    "one of these devices computes wrongly; run `quantfleet selftest` on both",
                    selected.mismatches.size(), selected.digests_compared, first.suite, first.item, first.format,
                    first.device_a, first.device_b));
  }
}

// The baseline of a line inside one run: the same model in the baseline format. Activations may differ between formats by
// default (f32 for F16, int8 for quantized types), so the baseline's own kind is used where the same kind does not exist. The KV
// cache is the plan's first kind: what a rounded one costs is seen against it.
const BySuite* baseline_of(const RunResults& results, const Selected& selected, const Line& line) {
  const auto& [model, format, activations, kv] = line;
  const auto same = selected.accuracy.find(Line{model, results.baseline, activations, results.baseline_kv});
  if (same != selected.accuracy.end()) return &same->second;
  for (const auto& [other, items] : selected.accuracy)
    if (std::get<0>(other) == model && std::get<1>(other) == results.baseline && std::get<3>(other) == results.baseline_kv) return &items;
  return nullptr;
}

// Of chosen items a plain mean is off: the weighted estimate stands in its place, other means are left out, flips stay as they are.
void weigh_chosen(RunSummary& summary) {
  for (const ChosenLine& chosen : summary.chosen)
    for (FormatSummary& f : summary.formats) {
      if (std::tie(f.model, f.format, f.activations, f.kv) != std::tie(chosen.model, chosen.format, chosen.activations, chosen.kv)) continue;
      for (SuiteScore& suite : f.suites) {
        if (suite.suite.name != chosen.suite) continue;
        suite.sampled = true;
        suite.accuracy = chosen.accuracy;
        suite.aggregates.clear();
        suite.groups.clear();
        suite.verdict = Verdict::kUnknown;
        if (suite.against_baseline) suite.against_baseline->retention.reset();
      }
    }
}

// A suite that one side failed altogether may hide any loss: what is left may show one, but cannot show that there is none.
void doubt_unanswered(RunSummary& summary) {
  for (FormatSummary& f : summary.formats)
    if (f.pooled && f.pooled->verdict != Verdict::kWorse && std::any_of(f.suites.begin(), f.suites.end(), [](const SuiteScore& suite) { return suite.unanswered; }))
      f.pooled->verdict = Verdict::kUnknown;
}

void add_line(RunSummary& summary, FormatSummary line) {
  summary.notes.insert(summary.notes.end(), line.failed_items.begin(), line.failed_items.end());
  for (const SuiteScore& suite : line.suites)
    if (!suite.not_compared.empty()) summary.notes.push_back(suite.not_compared);
  summary.formats.push_back(std::move(line));
}

}  // namespace

bool FormatSummary::unanswered() const {
  return !suites.empty() && std::all_of(suites.begin(), suites.end(), [](const SuiteScore& suite) { return suite.errors == suite.items; });
}

RunSummary summarize(const RunResults& results) {
  const Selected selected = select(results.rows);
  RunSummary summary;
  head_of(results, selected, summary);
  for (const Line& line : ordered_lines(results, selected))
    add_line(summary, summarize_line(results, selected, line, baseline_of(results, selected, line),
                                     std::get<1>(line) == results.baseline && std::get<3>(line) == results.baseline_kv));
  summary.twins = twin_lines(results);
  summary.chosen = chosen_lines(results);
  weigh_chosen(summary);
  doubt_unanswered(summary);
  summary.until = results.until;
  if (!summary.until) return summary;
  summary.area_verdicts = area_verdicts(results);
  // What was measured until it sufficed must not be judged as if the number of items had been fixed.
  for (FormatSummary& f : summary.formats) {
    const auto is_its = [&](const AreaVerdict& v) { return v.model == f.model && v.format == f.format && v.activations == f.activations && v.kv == f.kv; };
    std::vector<AreaVerdict> own;
    std::copy_if(summary.area_verdicts.begin(), summary.area_verdicts.end(), std::back_inserter(own), is_its);
    if (f.pooled) f.pooled->verdict = joined_verdict(own);
    for (SuiteScore& suite : f.suites) {
      std::vector<AreaVerdict> of_area;
      std::copy_if(own.begin(), own.end(), std::back_inserter(of_area), [&](const AreaVerdict& v) { return v.area == suite.suite.area; });
      suite.verdict = joined_verdict(of_area);
    }
  }
  doubt_unanswered(summary);
  summary.notes.push_back("items were measured until each area had its verdict: retention intervals are for a fixed number of items and too "
                          "narrow here, verdicts and the intervals by area are not");
  return summary;
}

RunSummary summarize_against(const RunResults& baseline, const RunResults& candidate) {
  const Selected base = select(baseline.rows), own = select(candidate.rows);
  RunSummary summary;
  head_of(candidate, own, summary);
  summary.baseline = baseline.run;
  for (const RunResults* run : {&baseline, &candidate}) {
    if (run == &candidate && candidate.run == baseline.run) break;
    if (run->rows.empty())
      summary.notes.push_back(fmt::format("run {} ({}) measured nothing{}", run->run, run->status, run->failures.empty() ? "" : ": " + run->failures.front()));
  }
  for (const SuiteInfo& suite : candidate.suites) {
    const SuiteInfo* other = find_suite(baseline.suites, suite.name);
    if (!other && is_twin(suite.name)) continue;  // of another night: compared unpaired
    if (!other)
      summary.notes.push_back(fmt::format("suite {} is not in run {}: not compared", suite.name, baseline.run));
    else if (other->sha256 != suite.sha256)
      summary.notes.push_back(fmt::format("suite {} differs (version {} against {}): not compared", suite.name, other->version, suite.version));
  }
  for (const Line& line : ordered_lines(candidate, own)) {
    const auto same = base.accuracy.find(line);
    if (same == base.accuracy.end())
      summary.notes.push_back(fmt::format("{} {} with {} activations and a {} KV cache is not in run {}: not compared", std::get<0>(line),
                                          std::get<1>(line), std::get<2>(line), std::get<3>(line), baseline.run));
    add_line(summary, summarize_line(candidate, own, line, same == base.accuracy.end() ? nullptr : &same->second, false));
  }
  if (baseline.until || candidate.until)
    summary.notes.push_back("a run that ended with verdicts has as many items as those verdicts needed: intervals and verdicts between two runs are for a "
                            "fixed number and too sure of themselves here");
  summary.twins = twin_lines(candidate);
  summary.twin_nights = twin_nights(baseline, candidate);
  summary.chosen = chosen_lines(candidate);
  weigh_chosen(summary);
  doubt_unanswered(summary);
  return summary;
}

}  // namespace quantfleet::reports
