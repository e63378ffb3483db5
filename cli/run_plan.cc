#include "cli/run_plan.h"

#include <fmt/format.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <sstream>
#include <vector>

namespace quantfleet::cli {

namespace fs = std::filesystem;

fs::path find_shipped(const fs::path& relative) {
  std::error_code unknown;
  const fs::path program = fs::read_symlink("/proc/self/exe", unknown);
  const fs::path installed = program.parent_path().parent_path() / "share/quantfleet" / relative;
  if (!unknown && fs::exists(installed, unknown)) return installed;
  return fs::path(QUANTFLEET_SOURCE_DIR) / relative;
}

Result<JobSpec> read_plan(const fs::path& plan) {
  constexpr std::uintmax_t kPlanBytesMax = 1 << 20;
  errno = 0;
  std::ifstream file(plan, std::ios::binary);
  if (!file)
    return Error{errno == EACCES ? Code::kPermission : Code::kNotFound, fmt::format("{}: cannot read the plan: {}", plan.string(), std::strerror(errno))};
  std::error_code why;
  if (fs::file_size(plan, why) > kPlanBytesMax || why) return Error{Code::kTooLarge, fmt::format("{}: a plan has at most 1 MiB", plan.string())};
  std::ostringstream text;
  text << file.rdbuf();
  Result<JobSpec> spec = job_spec_from_yaml(text.str(), plan.string());
  if (!spec) return spec;
  for (ModelSpec& model : spec->models) {
    if (model.path.empty()) continue;
    const std::vector<fs::path> places = {plan.parent_path() / model.path, fs::path(model.path), find_shipped(model.path)};
    fs::path found;
    for (const fs::path& place : places)
      if (found.empty() && fs::is_regular_file(place, why)) found = fs::absolute(place, why);
    if (found.empty())
      return Error{Code::kNotFound, fmt::format("{}: model {}: no file {}, {} or {}", plan.string(), model.name, places[0].string(),
                                                places[1].string(), places[2].string())};
    model.path = found.string();
  }
  return spec;
}

}  // namespace quantfleet::cli
