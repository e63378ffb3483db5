// make_reference_suites [DIRECTORY]: writes items.jsonl of the built-in suites below DIRECTORY (default: this source tree's
// suites/tasks). The committed files are this program's output; tests/models/reference checks that.
#include "models/reference/corpus/suites.h"

#include <cstdio>
#include <filesystem>
#include <fstream>

namespace {

bool write_file(const std::filesystem::path& path, const std::string& text) {
  std::filesystem::create_directories(path.parent_path());
  std::ofstream file(path, std::ios::binary);
  file << text;
  file.close();
  if (!file) std::fprintf(stderr, "%s: cannot be written\n", path.c_str());
  return static_cast<bool>(file);
}

}  // namespace

int main(int argc, char** argv) {
  using namespace quantfleet::reference;
  const std::filesystem::path root = argc > 1 ? argv[1] : QUANTFLEET_SOURCE_DIR "/suites/tasks";
  const Corpus corpus;
  for (const Area area : kAreas) {
    const auto items = suite_items(corpus, area);
    if (!write_file(root / name_of(area) / "items.jsonl", items_jsonl(items, area))) return 4;
    std::printf("%s: %zu items\n", name_of(area), items.size());
  }
  return write_file(root / "text" / "items.jsonl", text_items_jsonl(corpus)) ? 0 : 4;
}
