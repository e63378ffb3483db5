// quantfleet devices: the agents a coordinator knows.
#include "backends/engines/selftest.h"
#include "cli/commands.h"
#include "cli/coordinator_client.h"
#include "cli/model_options.h"

#include <fmt/format.h>

#include <filesystem>
#include <map>
#include <memory>
#include <string>

namespace quantfleet::cli {

std::function<int()> add_devices(CLI::App& app) {
  struct Options {
    CoordinatorAddress address;
    bool json = false;
  };
  auto options = std::make_shared<Options>();
  app.add_flag("--json", options->json, "as JSON (docs/schemas/devices.json)");
  add_coordinator_options(app, options->address);
  return [options] {
    const CoordinatorClient client = CoordinatorClient::at(options->address).value();
    nlohmann::json answer;
    client.get("/api/devices", answer).value();
    if (options->json) {
      fmt::print("{}\n", answer.dump(2));
      return 0;
    }
    const std::filesystem::path expected_file = QUANTFLEET_SOURCE_DIR "/models/reference/selftest.json";
    std::error_code ignored;
    const Result<SelftestResult> expected = std::filesystem::exists(expected_file, ignored)
                                                ? parse_selftest_json(read_text_file(expected_file))
                                                : Error{Code::kNotFound, expected_file.string()};
    for (const auto& device : answer["devices"]) {
      const std::size_t digests = device["selftest"].size();
      const std::string selftest = digests == 0            ? "self-test not run"
                                   : !expected             ? fmt::format("self-test: {} digests", digests)
                                   : device["selftest"].get<std::map<std::string, std::string>>() == expected->digests
                                       ? "self-test as expected"
                                       : "self-test DIFFERS: its accuracy is not comparable";
      const std::string kernels = device["kernels"].empty() ? "" : device["kernels"][0].get<std::string>();
      fmt::print("{:<20} {:<9} {:>3} cores  {:>6.1f} GiB  {:<12} {:<22} {}\n", device["name"].get<std::string>(), device["state"].get<std::string>(),
                 device["cores"].get<int>(), device["memory_bytes"].get<double>() / (1u << 30), kernels, selftest,
                 device["cpu_model"].get<std::string>());
      if (device["running"].is_object()) fmt::print("  {}\n", device["running"]["unit"].get<std::string>());
    }
    if (answer["devices"].empty()) fmt::print(stderr, "no agent has registered yet\n");
    return 0;
  };
}

}  // namespace quantfleet::cli
