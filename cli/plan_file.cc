#include "cli/plan_file.h"

#include "coordinator/artifacts/artifact_directory.h"

#include <fmt/format.h>

#include <fstream>
#include <sstream>

namespace quantfleet::cli {

namespace fs = std::filesystem;

Result<JobSpec> read_plan(const fs::path& file) {
  std::error_code error;
  if (!fs::is_regular_file(file, error)) return Error{Code::kNotFound, fmt::format("{}: no such plan", file.string())};
  if (fs::file_size(file, error) > (16u << 20)) return Error{Code::kTooLarge, fmt::format("{}: too large for a plan", file.string())};
  std::ifstream stream(file, std::ios::binary);
  std::stringstream text;
  if (!(text << stream.rdbuf()) && fs::file_size(file, error) > 0)
    return Error{Code::kPermission, fmt::format("{}: cannot be read", file.string())};
  const bool json = file.extension() == ".json";
  Result<JobSpec> spec = json ? job_spec_from_json(text.str(), file.string()) : job_spec_from_yaml(text.str(), file.string());
  if (!spec) return spec;
  const fs::path folder = fs::absolute(file).parent_path();
  // Finds what a path names, and fills in its hash or compares it.
  const auto find = [&](const std::string& what, std::string_view how_to_make_one, std::string& path, std::string& sha256) -> Status {
    if (path.empty()) return {};  // by hash: the coordinator has it already
    fs::path found;
    for (const fs::path& place : {fs::path(path), folder / path, folder.parent_path() / path}) {
      if (fs::is_directory(place, error) && (fs::exists(place / "config.json", error) || fs::exists(place / "adapter_config.json", error)))
        return Error{Code::kUnsupported, fmt::format("{}: models: {}: {} is a folder, and a plan names single files: `quantfleet convert {} OUT.gguf {}` makes one",
                                                     file.string(), what, place.string(), path, how_to_make_one)};
      if (!fs::is_regular_file(place, error)) continue;
      found = place;
      break;
    }
    if (found.empty()) return Error{Code::kNotFound, fmt::format("{}: models: {}: there is no file {}", file.string(), what, path)};
    const Result<std::string> hash = coordinator::sha256_of_file(found);
    if (!hash) return hash.error();
    if (!sha256.empty() && sha256 != *hash)
      return Error{Code::kHashMismatch, fmt::format("{}: models: {}: {} has the hash {}, not the plan's", file.string(), what, found.string(), *hash)};
    sha256 = *hash;
    path = found.string();
    return {};
  };
  for (ModelSpec& model : spec->models) {
    const std::string name = "\"" + model.name + "\"";
    if (const Status s = find(name, "--format bf16", model.path, model.sha256); !s) return s.error();
    for (LoraSpec& adapter : model.lora)
      if (const Status s = find(name + ": lora", "--base MODEL", adapter.path, adapter.sha256); !s) return s.error();
  }
  return spec;
}

}  // namespace quantfleet::cli
