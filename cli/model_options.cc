#include "cli/model_options.h"

#include "backends/formats/file_error.h"
#include "backends/huggingface/checkpoint.h"
#include "backends/models/config.h"

#include <fmt/format.h>
#include <sched.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <cstdio>
#include <fstream>
#include <iostream>
#include <iterator>
#include <thread>

namespace quantfleet::cli {
namespace {

double now_s() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

}  // namespace

int default_threads() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (::sched_getaffinity(0, sizeof(set), &set) == 0) return std::max(1, CPU_COUNT(&set));
  return static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
}

void add_compute_options(CLI::App& app, ModelOptions& options) {
  options.threads = default_threads();
  app.add_option("-t,--threads", options.threads, "threads that compute")->check(CLI::Range(1, 1024))->capture_default_str();
  app.add_flag("--pin", options.pin, "each thread stays on one processor");
  app.add_option("--kernels", options.kernels, "scalar, avx2, avx512_vnni, neon or neon_dotprod; the best this CPU has by default")
      ->envname("QUANTFLEET_KERNELS");
  app.add_option("--activations", options.activations, "f32 or int8; by default int8 for quantized formats, f32 for F32, F16 and BF16")
      ->check(CLI::IsMember({"f32", "int8"}));
}

void add_context_option(CLI::App& app, ModelOptions& options) {
  app.add_option("--context", options.context, "tokens of the context; 0: the model's own. A model with factors for long contexts (Phi-3 128k) uses them "
                                               "where this is above the context that it was first trained with, which is its default")
      ->check(CLI::Range(0, 1 << 24))->capture_default_str();
}

void add_model_options(CLI::App& app, ModelOptions& options) {
  app.add_option("MODEL", options.model, "GGUF file or Hugging Face folder")->required();
  add_compute_options(app, options);
  add_kv_option(app, options.kv);
  add_lora_option(app, options.lora);
}

CLI::Option* add_kv_option(CLI::App& app, std::string& kv) {
  return app.add_option("--kv", kv, "what the KV cache holds: f32, or rounded to f16, q8_0 or q4_0, which takes a half, about a quarter, about a seventh")
      ->check(CLI::IsMember({"f32", "f16", "q8_0", "q4_0"}))
      ->capture_default_str();
}

void add_lora_option(CLI::App& app, std::vector<std::string>& lora) {
  app.add_option("--lora", lora, "LoRA adapter, FILE or FILE:SCALE (default 1): a GGUF adapter file or a PEFT folder; may be given several times")
      ->take_all()->allow_extra_args(false);
}

AdapterFile adapter_of(const std::string& text) {
  const std::size_t colon = text.rfind(':');
  double scale = 0;
  if (colon != std::string::npos && colon > 0) {
    const char* end = text.data() + text.size();
    const auto [behind, error] = std::from_chars(text.data() + colon + 1, end, scale);
    if (error == std::errc() && behind == end) return {text.substr(0, colon), scale};
  }
  return {text, 1};
}

EngineOptions engine_options(const ModelOptions& options) {
  EngineOptions engine;
  engine.model = options.model;
  engine.threads = options.threads;
  engine.pin = options.pin;
  engine.kernels = options.kernels;
  engine.context_tokens = options.context;
  engine.kv = options.kv;
  for (const std::string& lora : options.lora) engine.adapters.push_back(adapter_of(lora));
  engine.activations = options.activations == "f32"    ? Activations::kF32
                       : options.activations == "int8" ? Activations::kInt8
                                                       : Activations::kDefault;
  return engine;
}

std::unique_ptr<NativeEngine> open_model(const EngineOptions& options) {
  auto engine = NativeEngine::open(options);
  if (!engine) throw BadResult(engine.error());
  return std::move(*engine);
}

void fit_window(int& tokens, bool asked_for, const std::filesystem::path& model) {
  const auto file = open_model_file(model);
  if (!file) throw BadResult(file.error());
  const auto config = read_model_config(**file);
  if (!config) throw BadResult(config.error());
  if (config->context_tokens >= tokens) return;
  if (asked_for) fmt::print(stderr, "warning: windows of {} tokens, but {} was made for {}\n", tokens, model.string(), config->context_tokens);
  else tokens = config->context_tokens;
}

std::ifstream open_text_file(const std::filesystem::path& path) {
  if (std::error_code none; std::filesystem::is_directory(path, none))
    throw BadResult({Code::kUsage, fmt::format("{}: is a folder; a file is needed", path.string())});
  errno = 0;
  std::ifstream file(path, std::ios::binary);
  if (!file) throw BadResult(file_error(path, "opening", errno ? errno : EIO));
  return file;
}

std::string read_text_file(const std::filesystem::path& path) {
  if (path == "-") return {std::istreambuf_iterator<char>(std::cin), {}};
  std::ifstream file = open_text_file(path);
  std::string text{std::istreambuf_iterator<char>(file), {}};
  if (!file && text.empty()) throw BadResult({Code::kIo, fmt::format("{}: cannot be read", path.string())});
  return text;
}

std::uint64_t peak_memory_bytes() {
  struct rusage usage {};
  ::getrusage(RUSAGE_SELF, &usage);
  return static_cast<std::uint64_t>(usage.ru_maxrss) * 1024;
}

ShareProgress::ShareProgress(std::string what) : what_(std::move(what)), terminal_(::isatty(STDERR_FILENO)), start_s_(now_s()), latest_s_(start_s_) {}

ShareProgress::~ShareProgress() {
  if (drawn_ && terminal_) std::fputs("\r\033[K", stderr);
}

void ShareProgress::show(double share) {
  const double now = now_s();
  if (now - latest_s_ < (terminal_ ? 0.2 : 10.0)) return;
  latest_s_ = now;
  const double left = share > 0 ? (now - start_s_) * (1 - share) / share : 0;
  if (terminal_) {
    const int filled = static_cast<int>(share * 30);
    fmt::print(stderr, "\r{} [{:#<{}}{:.<{}}] {:3.0f} %  {:.0f} s left\033[K", what_, "", filled, "", 30 - filled, share * 100, left);
    std::fflush(stderr);
  } else {
    fmt::print(stderr, "{}: {:.0f} %, {:.0f} s left\n", what_, share * 100, left);
  }
  drawn_ = true;
}

}  // namespace quantfleet::cli
