#include "cli/plan_upload.h"

#include "cli/plan_file.h"
#include "cli/token_probes.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cstdio>
#include <system_error>

namespace quantfleet::cli {
namespace {

namespace fs = std::filesystem;

struct TemporaryFolder {
  fs::path path = fs::temp_directory_path() / fmt::format("quantfleet-upload-{}", ::getpid());
  ~TemporaryFolder() {
    std::error_code ignored;
    fs::remove_all(path, ignored);
  }
};

// what: "models: \"tiny\"", for the line that shows progress and for what is wrong.
Status upload(const CoordinatorClient& client, const std::string& what, const fs::path& path, const std::string& sha256) {
  const Result<bool> there = client.has_artifact(sha256);
  if (!there) return there.error();
  if (*there) return {};
  if (path.empty()) return Error{Code::kNotFound, fmt::format("{} is given by hash, and the coordinator does not have it", what)};
  const bool terminal = ::isatty(STDERR_FILENO) == 1;
  const Status stored = client.put_artifact(path, sha256, [&](std::uint64_t done, std::uint64_t total) {
    if (terminal) fmt::print(stderr, "\rupload {}  {:.1f} of {:.1f} MB", what, double(done) / 1e6, double(total) / 1e6);
  });
  if (terminal) fmt::print(stderr, "\n");
  return stored;
}

}  // namespace

Status upload_plan_files(const CoordinatorClient& client, JobSpec& spec) {
  const TemporaryFolder folder;
  const auto probes = write_token_probes(spec, folder.path);
  if (!probes) return probes.error();
  for (const TokenProbesFile& file : *probes)
    if (const Status sent = upload(client, fmt::format("models: \"{}\"'s token probes", file.model), file.path, file.sha256); !sent) return sent;
  for (ModelSpec& model : spec.models) {
    const std::string what = fmt::format("models: \"{}\"", model.name);
    const Result<fs::path> file = pack_model(model, folder.path);
    if (!file) return file.error();
    if (const Status sent = upload(client, what, *file, model.sha256); !sent) return sent;
    for (const LoraSpec& adapter : model.lora)
      if (const Status sent = upload(client, what + "'s adapter", adapter.path, adapter.sha256); !sent) return sent;
  }
  for (const FormatRecipe& recipe : spec.recipes)
    for (const auto& [path, sha256] : {std::pair(&recipe.text, &recipe.text_sha256), std::pair(&recipe.imatrix, &recipe.imatrix_sha256)}) {
      if (sha256->empty()) continue;
      if (const Status sent = upload(client, fmt::format("formats: a file of \"{}\"", recipe.name), *path, *sha256); !sent) return sent;
    }
  return {};
}

}  // namespace quantfleet::cli
