#include "agent/command_line.h"

#include "agent/probe/probe.h"
#include "agent/runner/startup_selftest.h"
#include "backends/engines/completion_dialect.h"
#include "backends/engines/http_client.h"

#include <fmt/format.h>

#include <algorithm>
#include <thread>

namespace quantfleet::agent {

namespace fs = std::filesystem;

namespace {

// What the roles of ansible/ install beside the program, else the source tree's.
fs::path installed_or_source(const char* installed_path, const char* source_path) {
  std::error_code unknown;
  const fs::path program = fs::read_symlink("/proc/self/exe", unknown);
  if (!unknown) {
    const fs::path installed = program.parent_path().parent_path() / "share/quantfleet" / installed_path;
    if (fs::exists(installed, unknown)) return installed;
  }
  return fs::path(QUANTFLEET_SOURCE_DIR) / source_path;
}

// The self-test alone, in this process: 0 when each digest is the expected one, else 1.
int run_selftest_alone(const AgentOptions& options) {
  const int threads = options.threads > 0 ? options.threads : std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
  const Result<SelftestResult> result = run_selftest({options.selftest_model, options.kernels, threads, {}});
  if (!result) throw BadResult(result.error());
  const Result<SelftestVerdict> verdict = selftest_verdict(*result, options.selftest_model.parent_path() / "selftest.json");
  if (!verdict) throw BadResult(verdict.error());
  fmt::print("{}\n", verdict->sentence);
  return verdict->as_expected ? 0 : 1;
}

}  // namespace

fs::path default_suites_root() { return installed_or_source("suites", "suites/tasks"); }

Result<std::map<std::string, ServerEngine>> read_engines(const std::vector<std::string>& texts) {
  std::map<std::string, ServerEngine> engines;
  for (const std::string& text : texts) {
    const std::size_t equals = text.find('='), at_sign = text.find('@', equals == std::string::npos ? 0 : equals);
    if (equals == 0 || equals == std::string::npos || at_sign == std::string::npos)
      return Error{Code::kUsage, fmt::format("--engine {}: expected NAME=KIND@URL, such as lab-vllm=vllm@http://127.0.0.1:8000", text)};
    const std::string name = text.substr(0, equals);
    const ServerEngine engine{text.substr(equals + 1, at_sign - equals - 1), text.substr(at_sign + 1)};
    if (const auto dialect = find_dialect(engine.kind); !dialect) return at("--engine " + name, dialect.error());
    if (const auto url = read_http_url(engine.url); !url) return at("--engine " + name, url.error());
    if (name == "native" || !engines.emplace(name, engine).second) return Error{Code::kUsage, fmt::format("--engine {}: the name is taken", name)};
  }
  return engines;
}

std::shared_ptr<AgentCommandLine> add_agent_options(CLI::App& app) {
  auto line = std::make_shared<AgentCommandLine>();
  AgentOptions& o = line->options;
  o.state = "quantfleet-agent";
  o.suites_root = default_suites_root();
  o.selftest_model = installed_or_source("reference/reference.gguf", "models/reference/reference.gguf");
  app.add_option("--coordinator", o.coordinator, "control socket of the coordinator: tcp://HOST:PORT")->envname("QUANTFLEET_COORDINATOR");
  app.add_option("--coordinator-key", o.coordinator_key, "its public key, or a file with it [STATE/keys/coordinator.public]");
  app.add_option("--name", o.name, "what reports call this agent [the host's name]");
  app.add_option("--label", line->labels, "k=v, kept with its results; may be repeated");
  app.add_option("--engine", line->engines, "NAME=KIND@URL: an inference server that plans may ask for by this name; KIND is llama-server, vllm, tabbyapi, ollama or "
                                            "openai, URL http://HOST:PORT; may be repeated. QUANTFLEET_ENGINE_KEY is its bearer token");
  app.add_option("--state", o.state, "directory for keys, cache and results not yet acknowledged")->capture_default_str();
  app.add_option("--suites", o.suites_root, "directory of the suites")->capture_default_str();
  app.add_option("--selftest-model", o.selftest_model, "model of the self-test at the start; \"\" for no self-test")->capture_default_str();
  app.add_option("--seed-artifacts", o.seed_artifacts, "directory of model files to use instead of fetching the same bytes [none]");
  app.add_option_function<std::uint64_t>("--cache-gib", [line](std::uint64_t gib) { line->options.cache_bytes_max = gib << 30; },
                                         "size limit of the artifact cache in GiB [64]")
      ->check(CLI::Range(std::uint64_t{1}, std::uint64_t{1} << 20));
  app.add_option("--threads", o.threads, "threads of the process that runs models; 0 = all cores [0]")->check(CLI::Range(0, 1024));
  app.add_flag("--pin", o.pin, "each of them stays on one processor");
  app.add_option("--kernels", o.kernels, "kernel family instead of the CPU's best: scalar, avx2, avx512_vnni, neon, neon_dotprod. Activations are the plans' business")->envname("QUANTFLEET_KERNELS");
  app.add_option("--host-lock", o.host_lock, "where agents of one host agree who measures alone [/run/lock/quantfleet-host]");
  app.add_flag("--show-key", line->show_key, "print this agent's public key, making one when there is none, and end");
  app.add_subcommand("selftest", "does this machine compute what every other does? The self-test alone, then end; takes "
                                 "--selftest-model, --kernels and --threads")
      ->fallthrough()
      ->callback([line] { line->selftest = true; });
  return line;
}

int run_agent(AgentCommandLine& line) {
  AgentOptions& options = line.options;
  if (line.selftest) return run_selftest_alone(options);
  if (line.show_key) {
    const Result<std::string> key = agent_public_key(options.state);
    if (!key) throw BadResult(key.error());
    fmt::print("{}\n", *key);
    return 0;
  }
  if (options.coordinator.empty()) throw BadResult({Code::kUsage, "--coordinator tcp://HOST:PORT is needed (see --help)"});
  for (const std::string& label : line.labels) {
    const std::size_t equals = label.find('=');
    if (equals == 0 || equals == std::string::npos) throw BadResult({Code::kUsage, fmt::format("--label {}: expected NAME=VALUE", label)});
    options.labels[label.substr(0, equals)] = label.substr(equals + 1);
  }
  const auto engines = read_engines(line.engines);
  if (!engines) throw BadResult(engines.error());
  options.engines = *engines;
  Device device;
  probe_kernels(device);
  if (!options.kernels.empty() && std::find(device.kernels.begin(), device.kernels.end(), options.kernels) == device.kernels.end())
    throw BadResult({Code::kUsage, fmt::format("--kernels {}: this CPU has {}", options.kernels, fmt::join(device.kernels, ", "))});
  return run_agent(options);
}

}  // namespace quantfleet::agent
