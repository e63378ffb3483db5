// Options that every command which runs a model has, and how they become an open engine.
#pragma once

#include "backends/engines/native.h"

#include <CLI/CLI.hpp>

#include <filesystem>
#include <fstream>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace quantfleet::cli {

struct ModelOptions {
  std::filesystem::path model;
  bool pin = false;           // threads stay on one processor each
  int threads = 0;            // as given or the default: this process' cores
  std::string kernels;        // empty: the best this CPU has
  std::string activations;    // empty: by the file's format
  int context = 0;            // 0: the model's own
  std::string kv = "f32";     // what the KV cache holds
  std::vector<std::string> lora;  // FILE[:SCALE]
};

void add_model_options(CLI::App& app, ModelOptions& options);      // MODEL, --kv, --lora and the ones below
void add_compute_options(CLI::App& app, ModelOptions& options);    // --threads --pin --kernels --activations
void add_context_option(CLI::App& app, ModelOptions& options);     // --context
CLI::Option* add_kv_option(CLI::App& app, std::string& kv);
void add_lora_option(CLI::App& app, std::vector<std::string>& lora);  // --lora
// FILE or FILE:SCALE; what is behind the last colon is a scale where it is a number.
AdapterFile adapter_of(const std::string& text);

int default_threads();   // the cores this process may use

EngineOptions engine_options(const ModelOptions& options);
// Throws BadResult (main turns it into a sentence and an exit code).
std::unique_ptr<NativeEngine> open_model(const EngineOptions& options);

// Windows of `tokens` on this model: where it was made for fewer, `tokens` becomes that many, or, where a person asked for the number, a
// warning says so. Throws BadResult.
void fit_window(int& tokens, bool asked_for, const std::filesystem::path& model);

std::ifstream open_text_file(const std::filesystem::path& path);   // a folder is none; throws BadResult
std::string read_text_file(const std::filesystem::path& path);     // "-" is stdin; throws BadResult

// Peak resident memory of this process so far, as the kernel counts it.
std::uint64_t peak_memory_bytes();

// Progress on stderr: a bar with rate and remaining time on a terminal, a plain line every ten seconds elsewhere.
class ShareProgress {
 public:
  explicit ShareProgress(std::string what);
  ~ShareProgress();
  void show(double share);  // 0 to 1

 private:
  std::string what_;
  bool terminal_;
  double start_s_, latest_s_;
  bool drawn_ = false;
};

}  // namespace quantfleet::cli
