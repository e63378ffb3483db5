#include "backends/engines/selftest.h"

#include "backends/engines/native.h"
#include "backends/formats/file_hash.h"
#include "backends/models/sampler.h"
#include "backends/quantizers/quantize_model.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <stdlib.h>

#include <array>

namespace quantfleet {
namespace {

constexpr std::array<std::string_view, 6> kFormats = {"F16", "Q8_0", "Q4_0", "Q4_K", "Q6_K", "Q2_K"};
constexpr int kPrefillTokens = 67;  // four pages and a rest, no multiple of any tile
constexpr int kDecodeTokens = 5;

struct TemporaryFolder {
  std::filesystem::path path;
  TemporaryFolder() {
    std::string name = (std::filesystem::temp_directory_path() / "quantfleet-selftest-XXXXXX").string();
    if (::mkdtemp(name.data())) path = name;
  }
  ~TemporaryFolder() {
    std::error_code ignored;
    if (!path.empty()) std::filesystem::remove_all(path, ignored);
  }
};

}  // namespace

Result<SelftestResult> run_selftest(const SelftestOptions& options) {
  SelftestResult result;
  auto hash = sha256_of_file(options.model);
  if (!hash) return hash.error();
  result.model_sha256 = *hash;
  TemporaryFolder folder;
  if (folder.path.empty()) return Error{Code::kPermission, "no temporary folder can be made"};

  double done = 0;
  for (const std::string_view format : kFormats) {
    const std::filesystem::path file = folder.path / (std::string(format) + ".gguf");
    QuantizeOptions quantize;
    quantize.format = std::string(format);  // the file-level mix of that name
    quantize.threads = options.threads;
    if (auto report = quantize_model(options.model, file, quantize); !report) return report.error();
    for (const bool int8 : {false, true}) {
      EngineOptions open;
      open.model = file;
      open.threads = options.threads;
      open.kernels = options.kernels;
      open.activations = int8 ? Activations::kInt8 : Activations::kF32;
      const auto opened = NativeEngine::open(open);
      if (!opened) return opened.error();
      NativeEngine& engine = **opened;
      result.kernels = engine.info().kernels;
      std::vector<std::int32_t> tokens;
      for (int i = 0; i < kPrefillTokens + kDecodeTokens; ++i)
        tokens.push_back(static_cast<std::int32_t>(random_bits(1, static_cast<std::uint64_t>(i)) %
                                                   static_cast<std::uint64_t>(engine.info().vocabulary_tokens)));
      LogitsDigest prefill, decode;
      if (auto status = engine.logits_of_prompt_and_steps(tokens, kPrefillTokens,
                                                          [&](std::int64_t token, std::span<const float> row) {
                                                            (token < kPrefillTokens ? prefill : decode).add(row);
                                                          });
          !status)
        return at(fmt::format("{} with {} activations", format, int8 ? "int8" : "f32"), status.error());
      const std::string name = fmt::format("{}/{}", format, int8 ? "int8" : "f32");
      result.digests[fmt::format("{}/prefill{}", name, kPrefillTokens)] = prefill.hex32();
      result.digests[fmt::format("{}/decode{}", name, kDecodeTokens)] = decode.hex32();
      done += 0.5 / kFormats.size();
      if (options.progress) options.progress(done);
    }
    std::error_code ignored;
    std::filesystem::remove(file, ignored);
  }
  return result;
}

std::string selftest_json(const SelftestResult& result) {
  return nlohmann::ordered_json{{"model_sha256", result.model_sha256}, {"digests", result.digests}}.dump(2) + "\n";
}

Result<SelftestResult> parse_selftest_json(std::string_view text) {
  const auto json = nlohmann::json::parse(text, nullptr, false);
  const auto bad = [](std::string_view what) { return Error{Code::kBadValue, fmt::format("expected digests of the self-test: {}", what)}; };
  if (json.is_discarded() || !json.is_object()) return bad("not a JSON object");
  if (!json.contains("model_sha256") || !json["model_sha256"].is_string()) return bad("'model_sha256' is missing or no string");
  if (!json.contains("digests") || !json["digests"].is_object()) return bad("'digests' is missing or no object");
  SelftestResult result;
  result.model_sha256 = json["model_sha256"].get<std::string>();
  for (const auto& [name, digest] : json["digests"].items()) {
    if (!digest.is_string()) return bad(fmt::format("the digest of '{}' is no string", name));
    result.digests[name] = digest.get<std::string>();
  }
  return result;
}

}  // namespace quantfleet
