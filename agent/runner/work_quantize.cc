// Quantize work: one model file into another format. The artifact's facts are what tables show about a format.
#include "agent/probe/probe.h"
#include "agent/runner/work.h"
#include "backends/formats/file_hash.h"
#include "backends/quantizers/quantize_model.h"
#include "contract/version.h"

namespace quantfleet::agent {

Result<UnitFinished> carry_out(const RunnerTask& task, const QuantizeWork& work, Report& report) {
  QuantizeOptions options;
  options.format = work.format;
  options.threads = task.threads;
  options.progress = [&](std::uint64_t done, std::uint64_t total) {
    report.say(RunnerProgress{done, total});
    return true;
  };
  const Result<QuantizeReport> made = quantize_model(task.model, task.output, options);
  if (!made) return made.error();
  const Result<std::string> hash = sha256_of_file(task.output);
  if (!hash) return hash.error();

  UnitFinished finished;
  finished.artifact = Artifact{*hash, made->output_bytes, "model",
                               {{"bits_per_weight", made->bits_per_weight},
                                {"seconds", made->seconds},
                                {"input_bytes", static_cast<double>(made->input_bytes)},
                                {"output_bytes", static_cast<double>(made->output_bytes)}}};
  finished.provenance.program_version = std::string(program_version());
  finished.provenance.model_sha256 = work.model_sha256;
  finished.provenance.format = work.format;
  finished.provenance.host_id = probe_host_id();
  finished.provenance.threads = task.threads;
  finished.provenance.seed = task.lease.seed;
  return finished;
}

}  // namespace quantfleet::agent
