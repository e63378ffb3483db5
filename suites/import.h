// Taking over a public benchmark from its authors' files, as a task's `import` says. The files are hostile until checked; a
// broken record names file and line. Spec of the keys: docs/adding-a-task.md.  Fuzz: tests/fuzz/fuzz_import.cc
#pragma once

#include "suites/task.h"

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace quantfleet {

struct ImportedItems {
  std::string jsonl;          // one object a line, keys sorted: the items file
  int count = 0;
  std::string sha256;         // of jsonl
  std::vector<std::filesystem::path> files;  // that were read
};

// from: the folder of the authors' files, or the one file. Errors: kNotFound with the pattern that fits no file; kBadValue with
// FILE:LINE, the line that the record begins in; kTooLarge.
// Of several editions the one whose files are there.
Result<ImportedItems> import_items(const std::vector<ImportSource>& editions, const std::filesystem::path& from, std::string_view place);
Result<ImportedItems> import_items(const ImportSource& source, const std::filesystem::path& from, std::string_view place);

// The split that a file's path says: "data/test/law_test.csv" is of "test"; dev, val and valid are the "validation" split. Empty where it
// says none, or several.
std::string split_named_by(const std::filesystem::path& path);

// The records of one file as JSON objects, with the line each begins in. `bytes` may be compressed by gzip or bzip2.
struct ImportRecord {
  nlohmann::json fields;
  int line = 0;
};
Result<std::vector<ImportRecord>> read_records(std::string_view bytes, const ImportSource& source, std::string_view place);

}  // namespace quantfleet
