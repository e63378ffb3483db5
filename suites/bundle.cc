#include "suites/bundle.h"

#include "suites/task.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <array>
#include <cstdint>
#include <fstream>
#include <iterator>
#include <optional>
#include <string>
#include <vector>

namespace quantfleet {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

constexpr std::size_t kHeaderBytesMax = 64u << 10;
constexpr std::size_t kFilesMax = 8;
constexpr std::array<std::string_view, 7> kBuiltIn = {"reasoning", "coding", "math", "language", "knowledge", "safety", "text"};

std::optional<Task> task_of(const fs::path& folder) {
  std::ifstream file(folder / "task.yaml", std::ios::binary);
  const std::string yaml{std::istreambuf_iterator<char>(file), {}};
  auto task = parse_task_yaml(yaml, (folder / "task.yaml").string());
  return task ? std::optional<Task>(std::move(*task)) : std::nullopt;
}

bool is_plain(std::string_view name) {
  return !name.empty() && name.size() <= 64 && name[0] != '.' && std::all_of(name.begin(), name.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '_' || c == '-';
  });
}

// Exactly `bytes` bytes.
Status copy(std::istream& in, std::ostream& out, std::uint64_t bytes, const fs::path& target) {
  std::array<char, 1u << 16> buffer;
  while (bytes > 0) {
    const auto wanted = static_cast<std::streamsize>(std::min<std::uint64_t>(bytes, buffer.size()));
    if (!in.read(buffer.data(), wanted)) return Error{Code::kIo, fmt::format("{}: a file ended while it was copied", target.string())};
    if (!out.write(buffer.data(), wanted)) return Error{Code::kIo, fmt::format("{}: cannot be written", target.string())};
    bytes -= static_cast<std::uint64_t>(wanted);
  }
  return {};
}

struct Part {
  std::string name;
  std::uint64_t bytes = 0;
};

struct Header {
  std::string suite;
  std::vector<Part> files;
};

Result<Header> header_of(std::istream& in, std::uint64_t bundle_bytes) {
  std::string line;
  for (char c; line.size() < kHeaderBytesMax && in.get(c) && c != '\n';) line += c;
  if (!in || line.size() == kHeaderBytesMax) return Error{Code::kBadMagic, "is no suite bundle: the first line is not a header"};
  const Json json = Json::parse(line, nullptr, false);
  const auto suite = json.is_object() ? json.find("suite") : json.end(), files = json.is_object() ? json.find("files") : json.end();
  if (!json.is_object() || suite == json.end() || !suite->is_string() || files == json.end() || !files->is_array())
    return Error{Code::kBadMagic, "is no suite bundle: the first line has no 'suite' and 'files'"};
  Header header{suite->get<std::string>(), {}};
  if (!is_plain(header.suite)) return Error{Code::kBadValue, "the bundle's suite has no plain name"};
  std::uint64_t sum = line.size() + 1;
  for (const Json& file : *files) {
    if (!file.is_object() || !file.contains("name") || !file["name"].is_string() || !file.contains("bytes") || !file["bytes"].is_number_unsigned())
      return Error{Code::kBadValue, "a file of the bundle has no 'name' and 'bytes'"};
    Part part{file["name"].get<std::string>(), file["bytes"].get<std::uint64_t>()};
    const bool again = std::any_of(header.files.begin(), header.files.end(), [&](const Part& other) { return other.name == part.name; });
    if (!is_plain(part.name) || again || header.files.size() == kFilesMax) return Error{Code::kBadValue, fmt::format("file {} of the bundle has no plain name of its own", header.files.size())};
    if (part.bytes > bundle_bytes) return Error{Code::kBadShape, fmt::format("file {} has {} bytes, the whole bundle {}", part.name, part.bytes, bundle_bytes)};
    sum += part.bytes;
    header.files.push_back(std::move(part));
  }
  if (header.files.empty() || header.files.front().name != "task.yaml") return Error{Code::kBadValue, "the bundle does not begin with task.yaml"};
  if (sum != bundle_bytes) return Error{Code::kBadShape, fmt::format("the files of the bundle end at byte {}, the bundle at {}", sum, bundle_bytes)};
  return header;
}

Status unpack(const fs::path& bundle, const fs::path& root) {
  std::error_code failure;
  const std::uintmax_t bytes = fs::file_size(bundle, failure);
  std::ifstream in(bundle, std::ios::binary);
  if (failure || !in) return Error{Code::kNotFound, "cannot be opened"};
  const Result<Header> header = header_of(in, bytes);
  if (!header) return header.error();
  const fs::path folder = root / header->suite, making = root / (header->suite + ".making");
  if (fs::exists(folder, failure)) return {};
  fs::remove_all(making, failure);
  fs::create_directories(making, failure);
  if (failure) return Error{Code::kPermission, fmt::format("{}: cannot be made: {}", making.string(), failure.message())};
  for (const Part& part : header->files) {
    std::ofstream out(making / part.name, std::ios::binary);
    Status copied = copy(in, out, part.bytes, making / part.name);
    out.close();
    if (copied && !out) copied = Error{Code::kDiskFull, fmt::format("{}: cannot be written", (making / part.name).string())};
    if (copied) continue;
    fs::remove_all(making, failure);
    return copied;
  }
  fs::rename(making, folder, failure);
  if (failure) return Error{Code::kIo, fmt::format("{}: {}", folder.string(), failure.message())};
  return {};
}

}  // namespace

bool is_built_in_suite(std::string_view name) { return std::find(kBuiltIn.begin(), kBuiltIn.end(), name) != kBuiltIn.end(); }

bool has_items(const fs::path& suite_folder) {
  const auto task = task_of(suite_folder);
  std::error_code failure;
  return task && fs::exists(suite_folder / task->items_file, failure);
}

Status write_suite_bundle(const fs::path& suite_folder, const fs::path& bundle) {
  const auto task = task_of(suite_folder);
  if (!task) return Error{Code::kNotFound, fmt::format("{}: no suite", suite_folder.string())};
  Json files = Json::array();
  std::vector<Part> parts;
  for (const std::string& name : {std::string("task.yaml"), task->items_file, task->few_shot.items_file}) {
    if (name.empty() || std::any_of(parts.begin(), parts.end(), [&](const Part& part) { return part.name == name; })) continue;
    std::error_code failure;
    const std::uintmax_t bytes = fs::file_size(suite_folder / name, failure);
    if (failure) return Error{Code::kNotFound, fmt::format("{}: {}", (suite_folder / name).string(), failure.message())};
    parts.push_back({name, bytes});
    files.push_back({{"name", name}, {"bytes", bytes}});
  }
  std::ofstream out(bundle, std::ios::binary);
  out << Json{{"suite", task->name}, {"files", std::move(files)}}.dump() << '\n';
  Status status;
  for (const Part& part : parts) {
    std::ifstream in(suite_folder / part.name, std::ios::binary);
    if (status) status = copy(in, out, part.bytes, bundle);
  }
  out.close();
  if (status && !out) status = Error{Code::kDiskFull, fmt::format("{}: cannot be written", bundle.string())};
  std::error_code ignored;
  if (!status) fs::remove(bundle, ignored);
  return status;
}

Status unpack_suite_bundle(const fs::path& bundle, const fs::path& root) {
  if (const Status status = unpack(bundle, root); !status) return at(fmt::format("suite bundle {}", bundle.filename().string()), status.error());
  return {};
}

}  // namespace quantfleet
