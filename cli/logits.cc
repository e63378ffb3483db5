// quantfleet logits: feeds exactly the given tokens and writes the logits behind each, as raw numbers.
#include "backends/formats/output_file.h"
#include "cli/commands.h"
#include "cli/model_options.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <unistd.h>

#include <charconv>

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
  app.add_flag("--json", options->json, "facts about the result as one JSON document on stdout (docs/schemas/logits.json); not with --out -");
  return [options] {
    const bool to_stdout = options->out == "-";
    if (to_stdout && options->json) throw BadResult({Code::kUsage, "--out - writes the logits to stdout, where --json has no place: name a file"});
    const std::vector<std::int32_t> tokens = parse_tokens(options->tokens);
    auto engine = open_model(engine_options(options->model));
    if (static_cast<std::int64_t>(tokens.size()) > engine->info().context_tokens)
      throw BadResult({Code::kTooLarge, fmt::format("--tokens: {} tokens; the model's context has room for {}", tokens.size(), engine->info().context_tokens)});
    OutputFile file(to_stdout ? "standard output" : options->out);
    Status written = to_stdout ? file.take(::dup(STDOUT_FILENO), "opening") : file.open();
    if (!written) throw BadResult(written.error());
    LogitsDigest digest;
    const Status status = engine->logits(tokens, [&](std::span<const float> row) {
      digest.add(row);
      if (written) written = file.put(row.data(), row.size_bytes());
    });
    if (!status) throw BadResult(status.error());
    if (written) written = file.finish();
    if (!written) throw BadResult(written.error());
    const EngineInfo& info = engine->info();
    if (options->json)
      fmt::print("{}\n", nlohmann::ordered_json{{"model", info.model_name}, {"sha256", info.model_sha256}, {"format", info.format},
                                                {"kernels", info.kernels}, {"activations", info.activations}, {"kv", info.kv}, {"lora", info.lora}, {"threads", info.threads},
                                                {"tokens", tokens.size()}, {"vocabulary", info.vocabulary_tokens},
                                                {"logits_digest", digest.hex32()}}.dump(2));
    return 0;
  };
}

}  // namespace quantfleet::cli
