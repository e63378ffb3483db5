#include "cli/plan_file.h"

#include "agent/runner/recipe.h"
#include "backends/huggingface/model_folder.h"
#include "coordinator/artifacts/artifact_directory.h"

#include <fmt/format.h>

#include <fstream>
#include <sstream>

namespace quantfleet::cli {

namespace fs = std::filesystem;

namespace {

// Where a plan's file lies: as given, beside the plan, or beside the plan's folder.
fs::path find_beside(const fs::path& plan, const std::string& name) {
  const fs::path folder = fs::absolute(plan).parent_path();
  std::error_code error;
  for (const fs::path& place : {fs::path(name), folder / name, folder.parent_path() / name})
    if (fs::is_regular_file(place, error) || fs::exists(place / "config.json", error) || fs::exists(place / "adapter_config.json", error)) return place;
  return {};
}

// What the plan names as `what`: its path and hash. Folders get their hash when they are packed.
Status resolve(const fs::path& plan, const std::string& what, std::string& path, std::string& sha256) {
  if (path.empty()) return {};  // by hash: the coordinator has it already
  const fs::path found = find_beside(plan, path);
  if (found.empty()) return Error{Code::kNotFound, fmt::format("{}: {}: there is no file {}", plan.string(), what, path)};
  path = found.string();
  std::error_code error;
  if (fs::is_directory(found, error)) return {};
  const Result<std::string> hash = coordinator::sha256_of_file(found);
  if (!hash) return hash.error();
  if (!sha256.empty() && sha256 != *hash)
    return Error{Code::kHashMismatch, fmt::format("{}: {}: {} has the hash {}, not the plan's", plan.string(), what, path, *hash)};
  sha256 = *hash;
  return {};
}

}  // namespace

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
    const std::string what = fmt::format("models: \"{}\"", model.name);
    if (const Status found = resolve(file, what, model.path, model.sha256); !found) return found.error();
    for (LoraSpec& adapter : model.lora) {
      if (const Status found = resolve(file, what + ": lora", adapter.path, adapter.sha256); !found) return found.error();
      if (fs::is_directory(adapter.path, error))
        return Error{Code::kUnsupported, fmt::format("{}: {}: lora: {} is a folder, and a plan's adapters are single files: `quantfleet convert {} OUT.gguf --base MODEL` makes one",
                                                     file.string(), what, adapter.path, adapter.path)};
    }
  }
  for (FormatRecipe& recipe : spec->recipes) {
    const std::string what = fmt::format("formats: \"{}\"", recipe.name);
    if (const Status good = agent::check_recipe(recipe); !good) return at(fmt::format("{}: {}", file.string(), what), good.error());
    if (const Status found = resolve(file, what, recipe.text, recipe.text_sha256); !found) return found.error();
    if (const Status found = resolve(file, what, recipe.imatrix, recipe.imatrix_sha256); !found) return found.error();
  }
  return spec;
}

Result<fs::path> pack_model(ModelSpec& model, const fs::path& folder) {
  std::error_code error;
  if (!fs::is_directory(model.path, error)) return fs::path(model.path);
  const auto files = huggingface::ModelFolder::open(model.path);
  if (!files) return files.error();
  fs::create_directories(folder, error);
  const fs::path archive = folder / (model.name + ".tar");
  if (const Status written = huggingface::write_model_archive(**files, (*files)->name(), archive); !written) return written.error();
  const Result<std::string> hash = coordinator::sha256_of_file(archive);
  if (!hash) return hash.error();
  if (!model.sha256.empty() && model.sha256 != *hash) {
    fs::remove(archive, error);
    return Error{Code::kHashMismatch, fmt::format("models: \"{}\": {} packs to the hash {}, not the plan's", model.name, model.path, *hash)};
  }
  model.sha256 = *hash;
  return archive;
}

}  // namespace quantfleet::cli
