#include "coordinator/http/metrics.h"

#include "contract/metric_names.h"

#include <prometheus/metric_family.h>
#include <prometheus/text_serializer.h>

namespace quantfleet::coordinator {
namespace {

using prometheus::MetricFamily;
using prometheus::MetricType;
using Labels = std::vector<std::pair<std::string, std::string>>;

MetricFamily family(const char* name, const char* help, MetricType type) {
  MetricFamily result;
  result.name = name;
  result.help = help;
  result.type = type;
  return result;
}

void add(MetricFamily& target, const Labels& labels, double value) {
  prometheus::ClientMetric metric;
  for (const auto& [name, text] : labels) {
    prometheus::ClientMetric::Label label;
    label.name = name;
    label.value = text;
    metric.label.push_back(std::move(label));
  }
  if (target.type == MetricType::Counter) metric.counter.value = value;
  else metric.gauge.value = value;
  target.metric.push_back(std::move(metric));
}

}  // namespace

CoreNumbers core_numbers(const Coordinator& core, Time now) {
  CoreNumbers numbers;
  for (const auto& [id, unit] : core.units()) ++numbers.units[{std::string(name_of(unit.state)), std::string(kind_of(unit.work))}];
  for (const AgentStatus& agent : core.agents(now)) ++numbers.agents[agent.state];
  numbers.counters = core.counters();
  return numbers;
}

std::string metrics_text(const CoreNumbers& core, const LiveNumbers& live) {
  std::vector<MetricFamily> all;
  MetricFamily units = family(metric::kUnits, "Units of the runs in memory", MetricType::Gauge);
  for (const auto& [key, count] : core.units) add(units, {{"state", key.first}, {"kind", key.second}}, count);
  MetricFamily agents = family(metric::kAgents, "Known agents", MetricType::Gauge);
  for (const auto& [state, count] : core.agents) add(agents, {{"state", state}}, count);
  MetricFamily rows = family(metric::kRowsTotal, "Rows stored since the coordinator started", MetricType::Counter);
  for (const auto& [suite, count] : core.counters.rows_by_suite) add(rows, {{"suite", suite}}, static_cast<double>(count));
  MetricFamily refused = family(metric::kRowsRefusedTotal, "Rows that were not stored, and why", MetricType::Counter);
  for (const auto& [reason, count] : core.counters.rows_refused_by_reason) add(refused, {{"reason", reason}}, static_cast<double>(count));
  MetricFamily expired = family(metric::kLeasesExpiredTotal, "Leases that ended without a word", MetricType::Counter);
  add(expired, {}, static_cast<double>(core.counters.leases_expired));
  MetricFamily accuracy = family(metric::kAccuracyRatio, "Share of items answered right so far; no interval", MetricType::Gauge);
  for (const LiveAccuracy& a : live.accuracy)
    if (a.has_accuracy)
      add(accuracy, {{"run", a.run}, {"model", a.model}, {"format", a.format}, {"activations", a.activations}, {"kv", a.kv}, {"suite", a.suite}, {"area", a.area}},
          a.accuracy_ratio);
  MetricFamily prefill = family(metric::kPrefillTokensPerSecond, "Prompt tokens read per second", MetricType::Gauge);
  MetricFamily decode = family(metric::kDecodeTokensPerSecond, "Tokens generated per second", MetricType::Gauge);
  MetricFamily memory = family(metric::kPeakMemoryBytes, "Peak resident memory of the runner", MetricType::Gauge);
  MetricFamily energy = family(metric::kEnergyJoulesPerToken, "Energy per generated token, where it can be measured", MetricType::Gauge);
  for (const LiveTiming& t : live.timing) {
    const Labels labels{{"run", t.run}, {"device", t.device}, {"model", t.model}, {"format", t.format}, {"kv", t.kv}};
    add(prefill, labels, t.prefill_tokens_per_s);
    add(decode, labels, t.decode_tokens_per_s);
    if (t.peak_memory_bytes > 0) add(memory, labels, t.peak_memory_bytes);
    if (t.has_energy) add(energy, labels, t.energy_j_per_token);
  }
  for (MetricFamily* one : {&units, &agents, &rows, &refused, &expired, &accuracy, &prefill, &decode, &memory, &energy})
    if (!one->metric.empty()) all.push_back(std::move(*one));
  return prometheus::TextSerializer().Serialize(all);
}

}  // namespace quantfleet::coordinator
