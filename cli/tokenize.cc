// quantfleet tokenize: token ids of the texts of a JSONL file, one line out per line in. Reads the vocabulary only, no weights.
#include "backends/huggingface/checkpoint.h"
#include "backends/tokenizers/tokenizer.h"
#include "cli/commands.h"
#include "cli/model_options.h"
#include "cli/standard_output.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <cstdio>
#include <fstream>
#include <iostream>

namespace quantfleet::cli {
namespace {

// RFC 4648, padding optional. False where a character is none of the alphabet's.
bool from_base64(const std::string& text, std::string& bytes) {
  static const std::string kAlphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  unsigned bits = 0;
  int count = 0;
  std::size_t size = text.size();
  while (size > 0 && text[size - 1] == '=') --size;
  if (text.size() - size > 2 || size % 4 == 1) return false;
  bytes.clear();
  for (std::size_t i = 0; i < size; ++i) {
    const std::size_t value = kAlphabet.find(text[i]);
    if (value == std::string::npos) return false;
    bits = (bits << 6 | static_cast<unsigned>(value)) & 0xffffff;
    count += 6;
    if (count >= 8) bytes += static_cast<char>(bits >> (count -= 8) & 0xff);
  }
  return true;
}

}  // namespace

std::function<int()> add_tokenize(CLI::App& app) {
  struct Options {
    std::filesystem::path model, jsonl;
    bool add_special = false, parse_special = false;
  };
  auto options = std::make_shared<Options>();
  app.add_option("MODEL", options->model, "model or vocabulary file, GGUF, or Hugging Face folder")->required();
  app.add_option("--jsonl", options->jsonl, R"(file with a line {"text": ...} or {"bytes_b64": ...} per text, none blank; - is stdin)")->required();
  app.add_flag("--add-special", options->add_special, "BOS before and EOS behind, where the model wants them");
  app.add_flag("--parse-special", options->parse_special, "the text of a control token stands for that token");
  return [options] {
    const auto file = open_model_file(options->model);
    if (!file) throw BadResult(file.error());
    const auto tokenizer = Tokenizer::from_gguf(**file);
    if (!tokenizer) throw BadResult(at(options->model.string(), tokenizer.error()));
    std::ifstream opened;
    if (options->jsonl != "-") opened = open_text_file(options->jsonl);
    std::istream& lines = options->jsonl == "-" ? std::cin : opened;
    std::size_t number = 0;
    for (std::string line; std::getline(lines, line);) {
      ++number;
      const auto bad = [&](std::string_view what) {
        std::fflush(stdout);
        return BadResult({Code::kBadValue, fmt::format("{}: line {}: {}", options->jsonl.string(), number, what)});
      };
      if (line.find_first_not_of(" \t\r") == std::string::npos) throw bad("is blank, which would leave the lines of the output without their partners");
      const auto row = nlohmann::json::parse(line, nullptr, false);
      if (row.is_discarded() || !row.is_object()) throw bad("not a JSON object");
      std::string text;
      if (row.contains("text") && row["text"].is_string()) {
        text = row["text"].get<std::string>();
      } else if (row.contains("bytes_b64") && row["bytes_b64"].is_string()) {
        if (!from_base64(row["bytes_b64"].get<std::string>(), text)) throw bad("'bytes_b64' is not base64");
      } else {
        throw bad("neither a 'text' nor a 'bytes_b64' of type string");
      }
      std::string out = "{\"ids\":[";
      for (const std::int32_t id : (*tokenizer)->encode(text, options->add_special, options->parse_special)) {
        if (out.back() != '[') out += ',';
        out += std::to_string(id);
      }
      out += "]}\n";
      write_out(out);
    }
    return 0;
  };
}

}  // namespace quantfleet::cli
