// quantfleet logits: feeds exactly the given tokens and writes the logits behind each, as raw numbers.
#include "cli/commands.h"
#include "cli/model_options.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <charconv>
#include <cstdio>

namespace quantfleet::cli {
namespace {

std::vector<std::int32_t> parse_tokens(const std::string& text) {
  std::vector<std::int32_t> tokens;
  const char* at = text.data();
  const char* end = at + text.size();
  while (true) {
    while (at < end && *at == ' ') ++at;
    std::int32_t token = 0;
    const auto [next, error] = std::from_chars(at, end, token);
    if (error != std::errc() || token < 0)
      throw BadResult({Code::kUsage, fmt::format("--tokens: a token id is expected at character {} of '{}'", at - text.data() + 1,
                                                 text.size() > 60 ? text.substr(0, 60) + "..." : text)});
    tokens.push_back(token);
    at = next;
    while (at < end && *at == ' ') ++at;
    if (at == end) return tokens;
    if (*at != ',') throw BadResult({Code::kUsage, fmt::format("--tokens: a comma is expected at character {}", at - text.data() + 1)});
    ++at;
  }
}

}  // namespace

std::function<int()> add_logits(CLI::App& app) {
  struct Options {
    ModelOptions model;
    std::string tokens;
    std::filesystem::path out;
    bool json = false;
  };
  auto options = std::make_shared<Options>();
  add_model_options(app, options->model);
  add_context_option(app, options->model);
  app.add_option("--tokens", options->tokens, "token ids with commas between them; nothing is added")->required();
  app.add_option("--out", options->out, "file for float32 little-endian [tokens, vocabulary]; - is stdout")->required();
  app.add_flag("--json", options->json, "facts about the result as one JSON document on stdout");
  return [options] {
    const std::vector<std::int32_t> tokens = parse_tokens(options->tokens);
    auto engine = open_model(engine_options(options->model));
    if (static_cast<std::int64_t>(tokens.size()) > engine->info().context_tokens)
      throw BadResult({Code::kTooLarge, fmt::format("--tokens: {} tokens; the model's context has room for {}", tokens.size(), engine->info().context_tokens)});
    const bool to_stdout = options->out == "-";
    const std::string temporary = options->out.string() + ".part";
    std::FILE* file = to_stdout ? stdout : std::fopen(temporary.c_str(), "wb");
    if (!file) throw BadResult({Code::kPermission, fmt::format("{}: cannot be opened for writing", options->out.string())});
    bool written = true;
    LogitsDigest digest;
    const Status status = engine->logits(tokens, [&](std::span<const float> row) {
      digest.add(row);
      written = written && std::fwrite(row.data(), sizeof(float), row.size(), file) == row.size();
    });
    if (!to_stdout) written = (std::fclose(file) == 0) && written;
    std::error_code code;
    if (status && written && !to_stdout) std::filesystem::rename(temporary, options->out, code);
    if (!status || !written || code) {
      if (!to_stdout) std::filesystem::remove(temporary, code);
      throw BadResult(!status ? status.error() : Error{Code::kIo, fmt::format("{}: cannot be written", options->out.string())});
    }
    const EngineInfo& info = engine->info();
    if (options->json && !to_stdout)
      fmt::print("{}\n", nlohmann::ordered_json{{"model", info.model_name}, {"sha256", info.model_sha256}, {"format", info.format},
                                                {"kernels", info.kernels}, {"activations", info.activations}, {"kv", info.kv}, {"lora", info.lora}, {"threads", info.threads},
                                                {"tokens", tokens.size()}, {"vocabulary", info.vocabulary_tokens},
                                                {"logits_digest", digest.hex32()}}.dump(2));
    return 0;
  };
}

}  // namespace quantfleet::cli
