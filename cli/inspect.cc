// quantfleet inspect: what is in a model's files.
#include "backends/formats/file_hash.h"
#include "backends/formats/gguf.h"
#include "backends/huggingface/checkpoint.h"
#include "cli/commands.h"
#include "contract/error.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <map>
#include <memory>
#include <string_view>

namespace quantfleet::cli {

namespace {

using Json = nlohmann::ordered_json;

constexpr std::size_t kShownElements = 8;  // of an array in the metadata
constexpr std::size_t kShownBytes = 100;   // of a text on the terminal

struct Options {
  std::string path;
  bool json = false, hashes = false;
};

// A scalar as itself, an array as its length and first elements.
Json to_json(const GgufValue& value) {
  const auto* array = std::get_if<GgufArray>(&value.data);
  const auto scalar = [](const auto& data) -> Json {
    if constexpr (std::is_same_v<std::decay_t<decltype(data)>, GgufArray>) return nullptr;
    else return data;
  };
  if (!array) return std::visit(scalar, value.data);
  Json first = Json::array();
  for (const GgufValue::Scalar& element : value.first_elements(kShownElements)) first.push_back(std::visit(scalar, element));
  return {{"count", array->size()}, {"first", std::move(first)}};
}

// No control characters on the terminal, and no more than a line.
std::string shown(std::string text) {
  if (text.size() > kShownBytes) text = text.substr(0, kShownBytes - 3) + "...";
  std::string safe;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x20 || byte == 0x7f) safe += fmt::format("\\x{:02x}", byte);
    else safe += c;
  }
  return safe;
}

std::string dump(const Json& json, int indent = -1) { return json.dump(indent, ' ', false, Json::error_handler_t::replace); }

Json describe_formats(const GgufFile& file) {
  std::map<std::pair<std::uint32_t, std::string_view>, std::pair<int, std::uint64_t>> by_type;  // GGUF's number and name: tensors, bytes
  for (const GgufTensor& tensor : file.tensors()) {
    auto& [count, bytes] = by_type[{tensor.format->ggml_type, tensor.format->name}];
    ++count;
    bytes += tensor.size_bytes();
  }
  Json formats = Json::object();
  for (const auto& [type, sums] : by_type)
    formats[std::string(type.second)] = {{"tensors", sums.first}, {"bytes", sums.second}};
  return formats;
}

// Which quantizer of ours made the file, and from what; null where none says so.
Json made_by(const GgufFile& file) {
  Json made = nullptr;
  for (const char* key : {"quantizer", "program_version", "calibration_text", "calibration_sha256", "calibration_seed", "calibration_windows", "calibration_context"})
    if (const auto value = file.string_or(fmt::format("quantfleet.{}", key), ""); value && !value->empty()) made[key] = *value;
  for (const char* key : {"file", "dataset"})
    if (const auto value = file.string_or(fmt::format("quantize.imatrix.{}", key), ""); value && !value->empty()) made[fmt::format("imatrix_{}", key)] = *value;
  return made;
}

Status describe(const GgufFile& file, bool hashes, Json& model) {
  Json files = Json::array();
  for (const std::filesystem::path& part : file.parts()) {
    auto hash = sha256_of_file(part);
    if (!hash) return hash.error();
    std::error_code ignored;
    files.push_back({{"path", part.string()}, {"bytes", std::filesystem::file_size(part, ignored)}, {"sha256", *hash}});
  }
  Json metadata = Json::object(), tensors = Json::array();
  for (const auto& [key, value] : file.metadata()) metadata[key] = to_json(value);
  std::uint64_t parameters = 0, bytes = 0;
  std::vector<std::byte> buffer;
  for (const GgufTensor& tensor : file.tensors()) {
    parameters += static_cast<std::uint64_t>(tensor.count_values());
    bytes += tensor.size_bytes();
    Json one = {{"name", tensor.name}, {"shape", tensor.shape}, {"format", tensor.format->name}, {"bytes", tensor.size_bytes()}};
    if (hashes) one["sha256"] = sha256_of_bytes(file.rows(tensor, 0, tensor.rows(), buffer));
    tensors.push_back(std::move(one));
  }
  auto architecture = file.string_or("general.architecture", "");
  auto name = file.string_or("general.name", "");
  if (!architecture) return architecture.error();
  if (!name) return name.error();
  if (file.version() == 0) bytes = file.size_bytes();  // a checkpoint: what its files take, not what their values do
  model = Json{{"files", std::move(files)},
              {"gguf_version", file.version()},
              {"architecture", *architecture},
              {"name", *name},
              {"parameters", parameters},
              {"tensor_bytes", bytes},
              {"bits_per_weight", parameters ? static_cast<double>(bytes) * 8 / static_cast<double>(parameters) : 0.0},
              {"formats", describe_formats(file)},
              {"made_by", made_by(file)},
              {"metadata", std::move(metadata)},
              {"tensors", std::move(tensors)}};
  return {};
}

void print_table(const Json& model) {
  for (const Json& file : model["files"])
    fmt::print("{}  {} bytes  sha256 {}\n", shown(file["path"]), file["bytes"].get<std::uint64_t>(), file["sha256"].get<std::string>());
  fmt::print("architecture {}, {} parameters, {:.4f} bits per weight{}\n\n", shown(model["architecture"]),
             model["parameters"].get<std::uint64_t>(), model["bits_per_weight"].get<double>(), model["gguf_version"] == 0 ? std::string() : fmt::format(", GGUF version {}", model["gguf_version"].get<int>()));
  if (!model["made_by"].is_null()) {
    std::string parts;
    for (const auto& [key, value] : model["made_by"].items()) parts += fmt::format("{}{} {}", parts.empty() ? "" : ", ", key, shown(value.get<std::string>()));
    fmt::print("made by: {}\n\n", parts);
  }
  for (const auto& [key, value] : model["metadata"].items()) {
    if (value.is_object())
      fmt::print("  {} = {} elements {}\n", shown(key), value["count"].get<std::uint64_t>(), shown(dump(value["first"])));
    else
      fmt::print("  {} = {}\n", shown(key), shown(value.is_string() ? value.get<std::string>() : dump(value)));
  }
  fmt::print("\n  {:<40} {:>24} {:>8} {:>14}\n", "tensor", "shape", "format", "bytes");
  for (const Json& tensor : model["tensors"]) {
    fmt::print("  {:<40} {:>24} {:>8} {:>14}", shown(tensor["name"]),
               fmt::format("{}", fmt::join(tensor["shape"].get<std::vector<std::int64_t>>(), " x ")),
               tensor["format"].get<std::string>(), tensor["bytes"].get<std::uint64_t>());
    if (tensor.contains("sha256")) fmt::print("  {}", tensor["sha256"].get<std::string>());
    fmt::print("\n");
  }
  fmt::print("\n");
  for (const auto& [name, sums] : model["formats"].items())
    fmt::print("  {:<8} {:>6} tensors {:>16} bytes\n", name, sums["tensors"].get<int>(), sums["bytes"].get<std::uint64_t>());
}

int inspect(const Options& options) {
  const auto file = open_model_file(options.path).value();
  Json model;
  describe(*file, options.hashes, model).value();
  if (options.json) fmt::print("{}\n", dump(model, 1));
  else print_table(model);
  return 0;
}

}  // namespace

std::function<int()> add_inspect(CLI::App& app) {
  auto options = std::make_shared<Options>();
  app.add_option("FILE", options->path, "a GGUF file, the first part of a split one, a folder that holds one, or a Hugging Face folder")->required();
  app.add_flag("--json", options->json, "one JSON document on stdout (docs/schemas/inspect.json)");
  app.add_flag("--hashes", options->hashes, "also the SHA-256 of every tensor's bytes");
  return [options] { return inspect(*options); };
}

}  // namespace quantfleet::cli
