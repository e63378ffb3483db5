// An engine: opens a model, answers requests, times itself. It does not know jobs, suites or right answers.
#pragma once

#include "contract/error.h"
#include "contract/request.h"

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace quantfleet {

enum class Activations { kDefault, kF32, kInt8 };  // numerics.md rule 0

// An inference server that answers over HTTP (backends/engines/external.h).
struct ServerOptions {
  std::string url;                 // http://HOST:PORT
  std::string model;               // as the server names it; empty: the only one it has
  std::string key;                 // sent as bearer token; empty: none
  double timeout_s = 600;          // of one answer
  int connections = 8;             // at once
  std::uint64_t answer_bytes_max = 64u << 20;
};

// A LoRA adapter: a GGUF adapter file or a PEFT folder (docs/formats/lora.md).
struct AdapterFile {
  std::filesystem::path path;
  double scale = 1;                // its own scale is multiplied by this one
};

struct EngineOptions {
  std::filesystem::path model;
  std::vector<AdapterFile> adapters;  // applied at load, in this order
  Activations activations = Activations::kDefault;
  std::string kv = "f32";          // what the KV cache holds: "f32", "f16", "q8_0", "q4_0" (numerics.md rule 4)
  int threads = 1;
  bool pin = false;                // each thread but the caller's stays on one processor
  std::string kernels;             // "" = best of this CPU; else "scalar", "avx2", "avx512_vnni", "neon", "neon_dotprod"; an error where it lacks it
  int context_tokens = 0;          // 0 = the model's own; of models with factors for long contexts (Phi-3) that of the short ones
  // Memory that requests may fill with keys and values; 0: 1 GiB, or half of what the weights leave. What they share is read
  // again where it does not fit; a single text may take more.
  std::int64_t kv_cache_bytes = 0;
  // Rolling requests: write reference logits there / compare with the ones stored there (one of the two, or neither).
  std::filesystem::path reference_logits_out;
  std::filesystem::path reference_logits_in;
  ServerOptions server;            // of the engines that are servers
  bool whole_reference_rows = false;  // written: every log-probability instead of 96 bytes a token
};

struct EngineInfo {
  std::string engine;              // "native"
  std::string model_sha256;
  std::string lora;                // adapters in use: "SHA256" or "SHA256:SCALE" each, commas between; empty: none
  std::string architecture;        // "llama"
  std::string model_name;
  std::string format;              // file-level label: "Q4_K_M"
  std::string activations;         // "f32" | "int8": what is really used; empty: a server does not say
  std::string kv;                  // "f32" | "f16" | "q8_0" | "q4_0"; empty: a server does not say
  std::string kernels;             // family in use
  std::string chat_template;       // Jinja text, or empty
  std::uint64_t weights_bytes = 0;
  int vocabulary_tokens = 0;
  int context_tokens = 0;
  int threads = 0;                 // 0: a server answers
  int connections = 0;             // of a server: requests under way at once
  bool scores_prompts = true;      // false: no log-likelihoods and no perplexity
};

// How a text becomes ids: kText adds nothing; kPrompt is what the engine reads for a prompt, BOS included. Special tokens in the
// text are read as such.
enum class TokensAs { kText, kPrompt };

// One repetition of a timing measurement on synthetic tokens.
struct TimingSample {
  double prefill_seconds = 0;
  double decode_seconds = 0;
  double first_token_ms = 0;
  std::vector<float> inter_token_ms;
  int prompt_tokens = 0, generated_tokens = 0;
};

class Engine {
 public:
  virtual ~Engine() = default;
  virtual const EngineInfo& info() const = 0;

  // Answers in the order of the requests; each may fail alone. `done(index, result)` is called as soon as one is known
  // (any order, this thread) and returns false to stop early: the rest then fail with kCancelled.
  virtual void answer(std::span<const Request> requests,
                      const std::function<bool(std::size_t index, Result<Response> response)>& done) = 0;

  virtual Result<TimingSample> time(int prompt_tokens, int generated_tokens, std::uint64_t seed) = 0;

  // kUnsupported where the engine does not say.
  virtual Result<std::vector<std::int32_t>> tokenize(std::string_view text, TokensAs as) = 0;
};

// "native", or the name of a dialect (completion_dialect.h) where EngineOptions::server says which server.
Result<std::unique_ptr<Engine>> open_engine(std::string_view engine_name, const EngineOptions& options);
std::span<const std::string_view> engine_names();  // of those that need no server

}  // namespace quantfleet
