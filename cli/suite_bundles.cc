#include "cli/suite_bundles.h"

#include "cli/suites_root.h"
#include "coordinator/artifacts/artifact_directory.h"
#include "suites/bundle.h"
#include "suites/suite.h"

#include <fmt/format.h>

namespace quantfleet::cli {

namespace fs = std::filesystem;

Result<std::vector<SuiteBundle>> bundle_suites(JobSpec& spec, const fs::path& root, const fs::path& folder) {
  std::vector<SuiteBundle> bundles;
  for (SuiteSpec& wanted : spec.suites) {
    std::error_code failure;
    const bool built_in = is_built_in_suite(wanted.name) && fs::equivalent(root, default_suites_root(), failure);
    if (wanted.info || built_in || !has_items(root / wanted.name)) continue;
    const auto suite = load_suite(root / wanted.name);
    if (!suite) return suite.error();
    fs::create_directories(folder, failure);
    SuiteBundle bundle{wanted.name, {}, folder / (wanted.name + ".suite")};
    if (const Status written = write_suite_bundle(root / wanted.name, bundle.file); !written) return written.error();
    const Result<std::string> hash = coordinator::sha256_of_file(bundle.file);
    if (!hash) return hash.error();
    bundle.sha256 = wanted.bundle_sha256 = *hash;
    wanted.info = (*suite)->info();
    bundles.push_back(std::move(bundle));
  }
  return bundles;
}

}  // namespace quantfleet::cli
