// quantfleet selftest: the reference model on this machine, compared with the digests that every machine must give.
#include "backends/engines/selftest.h"
#include "backends/formats/output_file.h"
#include "cli/commands.h"
#include "cli/model_options.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace quantfleet::cli {

std::function<int()> add_selftest(CLI::App& app) {
  struct Options {
    ModelOptions compute;
    std::filesystem::path model = QUANTFLEET_SOURCE_DIR "/models/reference/reference.gguf";
    std::filesystem::path expected;
    bool write = false, json = false;
  };
  auto options = std::make_shared<Options>();
  app.add_option("--model", options->model, "model to run, GGUF; rows that are multiples of 256")->capture_default_str();
  app.add_option("--expected", options->expected, "file with the expected digests; selftest.json beside the model by default");
  app.add_flag("--write", options->write, "record this machine's digests as the expected ones");
  app.add_flag("--json", options->json, "one JSON document on stdout (docs/schemas/selftest.json)");
  add_compute_options(app, options->compute);
  return [options] {
    if (options->expected.empty()) options->expected = options->model.parent_path() / "selftest.json";
    SelftestOptions selftest;
    selftest.model = options->model;
    selftest.kernels = options->compute.kernels;
    selftest.threads = options->compute.threads;
    Result<SelftestResult> result = Error{Code::kCancelled, ""};
    {
      ShareProgress progress("selftest");
      selftest.progress = [&](double share) { progress.show(share); };
      result = run_selftest(selftest);
    }
    if (!result) throw BadResult(result.error());
    if (options->write) {
      if (const Status written = write_file(options->expected, selftest_json(*result)); !written) throw BadResult(written.error());
      fmt::print(stderr, "{} digests written to {}\n", result->digests.size(), options->expected.string());
    }
    const auto expected = parse_selftest_json(read_text_file(options->expected));
    if (!expected) throw BadResult(at(options->expected.string(), expected.error()));
    if (expected->model_sha256 != result->model_sha256)
      throw BadResult({Code::kHashMismatch, fmt::format("{} has digests for the model {}, but {} is {}", options->expected.string(),
                                                        expected->model_sha256, options->model.string(), result->model_sha256)});
    int failed = 0;
    nlohmann::ordered_json tests = nlohmann::json::array();
    for (const auto& [name, digest] : result->digests) {
      const auto found = expected->digests.find(name);
      const bool good = found != expected->digests.end() && found->second == digest;
      failed += !good;
      tests.push_back({{"name", name}, {"digest", digest}, {"expected", found == expected->digests.end() ? "" : found->second}, {"passed", good}});
      if (!options->json)
        fmt::print("{:<24} {}  {}\n", name, digest, good ? "as expected" : "DIFFERS");
      if (!good)
        fmt::print(stderr, "{} kernels: {} is wrong on this machine: {} instead of {}\n", result->kernels, name, digest,
                   found == expected->digests.end() ? "(nothing recorded)" : found->second);
    }
    for (const auto& [name, digest] : expected->digests)
      if (!result->digests.count(name)) {
        ++failed;
        fmt::print(stderr, "{}: this program does not run it\n", name);
      }
    if (options->json)
      fmt::print("{}\n", nlohmann::ordered_json{{"passed", failed == 0}, {"kernels", result->kernels}, {"threads", options->compute.threads},
                                                {"model_sha256", result->model_sha256}, {"failed", failed}, {"tests", tests}}.dump(2));
    else
      fmt::print("{} kernels, {} threads: {}\n", result->kernels, options->compute.threads,
                 failed == 0 ? "every digest is the expected one" : fmt::format("{} of {} digests differ", failed, result->digests.size()));
    return failed == 0 ? 0 : 1;
  };
}

}  // namespace quantfleet::cli
