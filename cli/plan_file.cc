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
  for (ModelSpec& model : spec->models) {
    if (model.path.empty()) continue;  // by hash: the coordinator has it already
    const fs::path folder = fs::absolute(file).parent_path();
    fs::path found;
    for (const fs::path& place : {fs::path(model.path), folder / model.path, folder.parent_path() / model.path}) {
      if (fs::is_directory(place, error) && fs::exists(place / "config.json", error))
        return Error{Code::kUnsupported, fmt::format("{}: models: \"{}\": {} is a folder, and a plan's models are single files: `quantfleet convert {} OUT.gguf --format bf16` makes one",
                                                     file.string(), model.name, place.string(), model.path)};
      if (!fs::is_regular_file(place, error)) continue;
      found = place;
      break;
    }
    if (found.empty())
      return Error{Code::kNotFound, fmt::format("{}: models: \"{}\": there is no file {}", file.string(), model.name, model.path)};
    const Result<std::string> hash = coordinator::sha256_of_file(found);
    if (!hash) return hash.error();
    if (!model.sha256.empty() && model.sha256 != *hash)
      return Error{Code::kHashMismatch, fmt::format("{}: models: \"{}\": {} has the hash {}, not the plan's", file.string(), model.name,
                                                    found.string(), *hash)};
    model.sha256 = *hash;
    model.path = found.string();
  }
  return spec;
}

}  // namespace quantfleet::cli
