#include "backends/engines/native.h"

#include "backends/engines/delivery.h"
#include "backends/engines/memory.h"
#include "backends/engines/native_evaluation.h"
#include "backends/engines/request_tokens.h"
#include "backends/formats/file_hash.h"
#include "backends/huggingface/checkpoint.h"
#include "backends/huggingface/peft_adapter.h"
#include "backends/kernels/kv_pages.h"
#include "backends/models/sampler.h"

#include <fmt/format.h>
#include <openssl/evp.h>

#include <algorithm>
#include <cstring>

namespace quantfleet {
namespace {

constexpr std::uint64_t kKvCacheBytes = std::uint64_t{1} << 30;
constexpr std::uint64_t kWorkingBytes = 32u << 20;   // rows of a batch, logits, the tokenizer
constexpr std::int64_t kLeastTokens = 512;           // of which keys and values must fit

// What requests may fill with keys and values: 1 GiB, or half of what the weights leave. Errors: kOutOfMemory where the weights,
// the keys and values of a short text and the working memory are more than this process may take.
Result<std::int64_t> cache_bytes_that_fit(const GgufFile& file, const ModelConfig& config, KvKind kv, const KernelFamily& family,
                                          std::uint64_t adapters, const EngineOptions& options) {
  const std::uint64_t available = available_memory_bytes(), weights = weights_size(file, family) + adapters;
  const std::int64_t tokens = std::min<std::int64_t>(config.context_tokens, kLeastTokens);
  const auto least = static_cast<std::uint64_t>((tokens + kPagePositions - 1) / kPagePositions * KvCache(config, kv).page_bytes());
  if (available > 0 && weights + least + kWorkingBytes > available) {
    const auto mb = [](std::uint64_t bytes) { return static_cast<double>(bytes) / 1e6; };
    return Error{Code::kOutOfMemory, fmt::format("{}: needs {:.1f} MB of memory (weights {:.1f} MB, KV cache of {} tokens {:.1f} MB, working "
                                                 "memory {:.1f} MB); {:.1f} MB of memory can be had here",
                                                 file.path().string(), mb(weights + least + kWorkingBytes), mb(weights), tokens, mb(least),
                                                 mb(kWorkingBytes), mb(available))};
  }
  if (options.kv_cache_bytes > 0) return options.kv_cache_bytes;
  return static_cast<std::int64_t>(available == 0 ? kKvCacheBytes : std::clamp((available - weights) / 2, least, std::max(least, kKvCacheBytes)));
}

// A PEFT folder's identity is that of its two files.
Result<std::string> adapter_hash(const std::filesystem::path& path) {
  std::error_code code;
  if (!std::filesystem::is_directory(path, code)) return sha256_of_file(path);
  return sha256_of_files(std::vector{path / "adapter_config.json", path / "adapter_model.safetensors"});
}

// Opens the adapters, and says in `lora` which they are (EngineInfo).
Result<std::vector<AppliedAdapter>> open_adapters(const std::vector<AdapterFile>& files, const GgufFile& base, std::string& lora) {
  std::vector<AppliedAdapter> adapters;
  for (const AdapterFile& file : files) {
    if (!(file.scale - file.scale == 0)) return Error{Code::kNonFinite, fmt::format("{}: a scale that is not a finite number", file.path.string())};
    auto adapter = open_lora_adapter(file.path, base);
    if (!adapter) return adapter.error();
    const auto hash = adapter_hash(file.path);
    if (!hash) return hash.error();
    adapters.push_back({std::make_shared<const LoraAdapter>(std::move(*adapter)), static_cast<float>(file.scale)});
    lora += (lora.empty() ? "" : ",") + *hash + (file.scale == 1 ? "" : fmt::format(":{}", file.scale));
  }
  return adapters;
}

}  // namespace

LogitsDigest::LogitsDigest() : context_(EVP_MD_CTX_new()) {
  if (!context_ || EVP_DigestInit_ex(static_cast<EVP_MD_CTX*>(context_), EVP_sha256(), nullptr) != 1) throw std::bad_alloc();
}

LogitsDigest::~LogitsDigest() { EVP_MD_CTX_free(static_cast<EVP_MD_CTX*>(context_)); }

LogitsDigest::LogitsDigest(LogitsDigest&& other) noexcept : context_(std::exchange(other.context_, nullptr)) {}

void LogitsDigest::add(std::span<const float> logits) {
  EVP_DigestUpdate(static_cast<EVP_MD_CTX*>(context_), logits.data(), logits.size_bytes());
}

void LogitsDigest::add(std::span<const unsigned char> bytes) {
  EVP_DigestUpdate(static_cast<EVP_MD_CTX*>(context_), bytes.data(), bytes.size());
}

std::string LogitsDigest::hex32() {
  unsigned char digest[32];
  unsigned size = 0;
  EVP_DigestFinal_ex(static_cast<EVP_MD_CTX*>(context_), digest, &size);
  std::string hex;
  for (int i = 0; i < 16; ++i) hex += fmt::format("{:02x}", digest[i]);
  return hex;
}

NativeEngine::~NativeEngine() {
  kept_.reset();  // before the cache that holds its pages
}

Result<std::unique_ptr<NativeEngine>> NativeEngine::open(const EngineOptions& options) {
  if (options.threads < 1 || options.threads > 1024)
    return Error{Code::kBadValue, fmt::format("{} threads; 1 to 1024 are possible", options.threads)};
  if (options.context_tokens < 0 || options.context_tokens > 1 << 24)
    return Error{Code::kBadValue, fmt::format("a context of {} tokens; 0 (the model's own) to 16777216 are possible", options.context_tokens)};
  if (options.kv_cache_bytes < 0)
    return Error{Code::kBadValue, fmt::format("{} bytes for the KV cache; 0 (the default) or more are possible", options.kv_cache_bytes)};
  if (!options.reference_logits_in.empty() && !options.reference_logits_out.empty())
    return Error{Code::kUsage, "reference logits are either written or compared with, not both"};
  const auto kv = find_kv_kind(options.kv);
  if (!kv) return Error{Code::kUnknownName, fmt::format("no KV cache holds \"{}\"; f32, f16, q8_0 and q4_0 are possible", options.kv)};
  const auto family = find_kernels(options.kernels);
  if (!family) return family.error();
  if (const Status limit = check_memory_limit(); !limit) return limit.error();
  auto file = open_model_file(options.model);
  if (!file) return file.error();

  std::unique_ptr<NativeEngine> engine(new NativeEngine);
  auto tokenizer = Tokenizer::from_gguf(**file);
  if (!tokenizer) return at(options.model.string(), tokenizer.error());
  engine->tokenizer_ = *tokenizer;
  auto shape = read_model_config(**file);
  if (!shape) return shape.error();
  std::string lora;
  auto adapters = open_adapters(options.adapters, **file, lora);
  if (!adapters) return adapters.error();
  std::uint64_t adapter_bytes = 0;
  for (const AppliedAdapter& applied : *adapters) adapter_bytes += applied.adapter->size_bytes();
  auto cache_bytes = cache_bytes_that_fit(**file, *shape, *kv, **family, adapter_bytes, options);
  if (!cache_bytes) return cache_bytes.error();
  engine->pool_ = std::make_unique<ThreadPool>(options.threads, options.pin);
  give_back_memory();  // a folder's tokenizer.json leaves more than its vocabulary takes
  auto model = load_model(*file, **family, *engine->pool_, true, *adapters);
  if (!model) return model.error();
  const ModelConfig& config = (*model)->config;
  if (engine->tokenizer_->size() > config.vocabulary_tokens)
    return Error{Code::kBadShape, fmt::format("{}: the tokenizer has {} tokens, the embedding {} rows", options.model.string(),
                                              engine->tokenizer_->size(), config.vocabulary_tokens)};
  const bool int8 = (*model)->has_int8 && options.activations != Activations::kF32;
  engine->transformer_ =
      std::make_unique<Transformer>(*model, int8 ? ActivationKind::kInt8 : ActivationKind::kF32, *engine->pool_, Evaluation::kRowsTogether);
  if (*kv == KvKind::kQ4_0 && config.head_width % 2 != 0)
    return Error{Code::kUnsupported, fmt::format("{}: heads of width {}; a q4_0 KV cache needs an even width", options.model.string(), config.head_width)};
  engine->cache_ = std::make_unique<KvCache>(config, *kv);
  engine->pages_max_ = std::max<std::int64_t>(1, *cache_bytes / engine->cache_->page_bytes());
  engine->kept_ = std::make_unique<KvSequence>(*engine->cache_);

  auto hash = sha256_of_files((*file)->parts());
  if (!hash) return hash.error();
  EngineInfo& info = engine->info_;
  info.engine = "native";
  info.model_sha256 = *hash;
  info.lora = lora;
  info.architecture = config.architecture;
  info.model_name = config.name;
  info.format = (*model)->format;
  info.activations = int8 ? "int8" : "f32";
  info.kv = name_of(*kv);
  info.kernels = (*family)->name;
  const auto chat = (*file)->string_or("tokenizer.chat_template", "");
  if (!chat) return chat.error();
  info.chat_template = *chat;
  (*file)->forget_all();
  give_back_memory();
  info.weights_bytes = (*model)->weights_bytes;
  info.vocabulary_tokens = config.vocabulary_tokens;
  // Of two sets of rotary frequencies the context decides, and without one it stays where the short ones hold.
  const int own_context = config.long_rotary_context > 0 ? config.long_rotary_context : config.context_tokens;
  info.context_tokens = options.context_tokens > 0 ? options.context_tokens : own_context;
  engine->transformer_->use_long_rotary(info.context_tokens > config.long_rotary_context);
  info.threads = options.threads;

  if (!options.reference_logits_out.empty()) {
    auto writer = ReferenceLogitsWriter::create(options.reference_logits_out, config.vocabulary_tokens,
                                                options.whole_reference_rows ? ReferenceRows::kWhole : ReferenceRows::kBrief);
    if (!writer) return writer.error();
    engine->reference_out_ = std::move(*writer);
  }
  if (!options.reference_logits_in.empty()) {
    auto reader = ReferenceLogits::open(options.reference_logits_in, config.vocabulary_tokens);
    if (!reader) return reader.error();
    engine->reference_in_ = std::move(*reader);
  }
  return engine;
}

Result<std::vector<std::int32_t>> NativeEngine::tokenize(std::string_view text, TokensAs as) {
  return as == TokensAs::kPrompt ? prompt_tokens(*tokenizer_, text, true) : tokenizer_->encode(text, false, true);
}

void NativeEngine::forget() {
  *kept_ = KvSequence(*cache_);
  kept_tokens_.clear();
}

void NativeEngine::answer(std::span<const Request> requests, const std::function<bool(std::size_t, Result<Response>)>& done) {
  Delivery delivery(requests.size(), done);
  Evaluation(*this, requests, delivery, {}).run();
  for (std::size_t i = 0; i < requests.size() && !delivery.stopped(); ++i)
    if (const auto* rolling = std::get_if<RollingLoglikelihood>(&requests[i]))
      delivery.deliver(i, answer_rolling(*rolling, delivery.start));
  delivery.finish();
}

Status NativeEngine::logits(std::span<const std::int32_t> tokens, const std::function<void(std::span<const float>)>& row) {
  KvSequence sequence(*cache_);
  const Transformer::Segment segment{&sequence, tokens, 0};
  return transformer_->forward({&segment, 1}, [&](std::size_t, std::int64_t, std::span<const float> logits) { row(logits); });
}

Status NativeEngine::logits_of_prompt_and_steps(std::span<const std::int32_t> tokens, std::size_t prompt,
                                                const std::function<void(std::int64_t, std::span<const float>)>& row) {
  KvSequence sequence(*cache_);
  for (std::size_t begin = 0; begin < tokens.size();) {
    const std::size_t count = begin == 0 ? std::min(prompt, tokens.size()) : 1;
    const Transformer::Segment segment{&sequence, tokens.subspan(begin, count), 0};
    const auto status = transformer_->forward({&segment, 1}, [&](std::size_t, std::int64_t token, std::span<const float> logits) {
      row(static_cast<std::int64_t>(begin) + token, logits);
    });
    if (!status) return status;
    begin += count;
  }
  return {};
}

Result<TimingSample> NativeEngine::time(int prompt_tokens, int generated_tokens, std::uint64_t seed) {
  return time_batch(prompt_tokens, generated_tokens, 1, seed);
}

Result<TimingSample> NativeEngine::time_batch(int prompt_tokens, int generated_tokens, int batch, std::uint64_t seed) {
  if (prompt_tokens < 1 || generated_tokens < 0 || batch < 1 || prompt_tokens > 1 << 20 || generated_tokens > 1 << 20 || batch > 1024)
    return Error{Code::kBadValue, fmt::format("{} prompt tokens, {} generated, batch {}: at least 1, 0 and 1 are needed, at most 1048576, "
                                              "1048576 and 1024", prompt_tokens, generated_tokens, batch)};
  std::uint64_t counter = 0;
  const auto next_token = [&] {
    return static_cast<std::int32_t>(random_bits(seed, counter++) % static_cast<std::uint64_t>(info_.vocabulary_tokens));
  };
  std::vector<std::vector<std::int32_t>> prompts(static_cast<std::size_t>(batch));
  std::vector<KvSequence> sequences(static_cast<std::size_t>(batch), KvSequence(*cache_));
  std::vector<Transformer::Segment> segments;
  for (std::size_t b = 0; b < prompts.size(); ++b) {
    for (int i = 0; i < prompt_tokens; ++i) prompts[b].push_back(next_token());
    segments.push_back({&sequences[b], prompts[b], prompt_tokens - 1});
  }
  std::int64_t chosen = 0;  // the choice of a token belongs to the work
  const Transformer::Sink sink = [&](std::size_t, std::int64_t, std::span<const float> logits) {
    chosen += argmax(logits.data(), static_cast<std::int64_t>(logits.size()));
  };
  TimingSample sample;
  sample.prompt_tokens = prompt_tokens * batch;
  sample.generated_tokens = generated_tokens * batch;
  const auto seconds_since = [](Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); };
  const auto prefill_start = Clock::now();
  if (auto status = transformer_->forward(segments, sink); !status) return status.error();
  sample.prefill_seconds = seconds_since(prefill_start);
  sample.first_token_ms = sample.prefill_seconds * 1e3;
  const auto decode_start = Clock::now();
  for (int step = 0; step < generated_tokens; ++step) {
    const auto step_start = Clock::now();
    for (std::size_t b = 0; b < prompts.size(); ++b) {
      prompts[b].assign(1, next_token());
      segments[b] = {&sequences[b], prompts[b], 0};
    }
    if (auto status = transformer_->forward(segments, sink); !status) return status.error();
    sample.inter_token_ms.push_back(static_cast<float>(seconds_since(step_start) * 1e3));
  }
  sample.decode_seconds = seconds_since(decode_start);
  if (chosen < 0) return Error{Code::kNonFinite, "no token could be chosen"};
  return sample;
}

Result<Response> NativeEngine::generate(const Generate& request, const std::function<void(std::string_view)>& text) {
  const Request requests[] = {request};
  Result<Response> answer = Error{Code::kCancelled, "no answer"};
  const std::function<bool(std::size_t, Result<Response>)> done = [&](std::size_t, Result<Response> response) {
    answer = std::move(response);
    return true;
  };
  Delivery delivery(1, done);
  Evaluation(*this, requests, delivery, text).run();
  return answer;
}

}  // namespace quantfleet
