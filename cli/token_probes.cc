#include "cli/token_probes.h"

#include "backends/engines/token_probes.h"
#include "backends/formats/file_hash.h"
#include "backends/huggingface/checkpoint.h"

#include <fmt/format.h>

#include <fstream>

namespace quantfleet::cli {

namespace fs = std::filesystem;

Result<std::vector<TokenProbesFile>> write_token_probes(JobSpec& spec, const fs::path& folder) {
  std::vector<TokenProbesFile> files;
  for (ModelSpec& model : spec.models) {
    if (model.path.empty()) continue;
    const auto file = open_model_file(model.path);
    if (!file) continue;
    const auto tokenizer = Tokenizer::from_gguf(**file);
    if (!tokenizer) continue;
    const std::string bytes = encode_token_probes(make_token_probes(**tokenizer));
    TokenProbesFile written{model.name, sha256_of_bytes(std::as_bytes(std::span(bytes))), folder / (model.name + ".token_probes")};
    std::error_code why;
    fs::create_directories(folder, why);
    std::ofstream out(written.path, std::ios::binary);
    out << bytes;
    out.close();
    if (!out) return Error{Code::kIo, fmt::format("{}: cannot be written", written.path.string())};
    model.token_probes_sha256 = written.sha256;
    files.push_back(std::move(written));
  }
  return files;
}

}  // namespace quantfleet::cli
