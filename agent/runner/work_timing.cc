// Timing work: one warm-up and then `repetitions` of prefill and decode on synthetic tokens, one row each, alone on the host.
// Energy per token is that of the whole repetition over the tokens it read and wrote; where there is no energy counter the
// score is absent and the lease's telemetry says why.
#include "agent/runner/open_model.h"
#include "agent/runner/work.h"
#include "agent/telemetry/sensors.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <set>

namespace quantfleet::agent {
namespace {

// Nearest-rank percentile of one repetition's gaps, 0 < share <= 1.
double percentile(std::vector<float> values, double share) {
  std::ranges::sort(values);
  const auto rank = static_cast<std::size_t>(std::ceil(share * static_cast<double>(values.size())));
  return values[std::clamp<std::size_t>(rank, 1, values.size()) - 1];
}

ItemResult row_of(int index, const TimingSample& sample) {
  ItemResult row;
  row.item = repetition_id(index);
  row.index = index;
  row.prompt_tokens = sample.prompt_tokens;
  row.generated_tokens = sample.generated_tokens;
  row.first_token_ms = sample.first_token_ms;
  row.total_ms = (sample.prefill_seconds + sample.decode_seconds) * 1000;
  if (sample.prefill_seconds > 0) row.scores["prefill_tokens_per_s"] = sample.prompt_tokens / sample.prefill_seconds;
  if (sample.decode_seconds > 0) row.scores["decode_tokens_per_s"] = sample.generated_tokens / sample.decode_seconds;
  row.scores["first_token_ms"] = sample.first_token_ms;
  if (!sample.inter_token_ms.empty()) {
    row.scores["inter_token_ms_p50"] = percentile(sample.inter_token_ms, 0.50);
    row.scores["inter_token_ms_p95"] = percentile(sample.inter_token_ms, 0.95);
    row.series["inter_token_ms"] = sample.inter_token_ms;
  }
  return row;
}

}  // namespace

ItemId repetition_id(int index) { return ItemId{fmt::format("repetition-{}", index)}; }

Result<UnitFinished> carry_out(const RunnerTask& task, const TimingWork& work, Report& report) {
  const Result<EngineOptions> options = engine_options(task, work.activations, work.kv, work.lora);
  if (!options) return options.error();
  Result<std::unique_ptr<Engine>> engine = open_engine(task, *options);
  if (!engine) return engine.error();
  const Sensor energy = cpu_energy();
  const std::set<int> done(task.skip.begin(), task.skip.end());
  const TimingSpec& timing = work.timing;
  const Result<TimingSample> warm_up = (*engine)->time(timing.prompt_tokens, timing.generated_tokens, task.lease.seed);
  if (!warm_up) return warm_up.error();
  for (int i = 0; i < timing.repetitions; ++i) {
    if (done.contains(i)) continue;
    report.say(RunnerBegan{{{i, repetition_id(i)}}});
    const std::optional<double> joules_before = energy.read ? energy.read() : std::nullopt;
    const Result<TimingSample> sample =
        (*engine)->time(timing.prompt_tokens, timing.generated_tokens, task.lease.seed + static_cast<std::uint64_t>(i) + 1);
    const std::optional<double> joules_after = energy.read ? energy.read() : std::nullopt;
    ItemResult row;
    if (sample) {
      row = row_of(i, *sample);
      if (const std::uint64_t bytes = peak_memory_bytes()) row.scores["peak_memory_bytes"] = static_cast<double>(bytes);
      const int tokens = sample->prompt_tokens + sample->generated_tokens;
      if (joules_before && joules_after && tokens > 0) row.scores["energy_j_per_token"] = (*joules_after - *joules_before) / tokens;
    } else {
      row.item = repetition_id(i);
      row.index = i;
      row.error = sample.error();
    }
    report.say(row);
  }
  UnitFinished finished;
  finished.provenance = provenance_of(task, (*engine)->info(), work.format);
  return finished;
}

}  // namespace quantfleet::agent
