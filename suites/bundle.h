// A suite as one file, so that agents can get from the artifact store, by its hash, what is not part of the program:
//   one line of JSON   {"suite": "mmlu", "files": [{"name": "task.yaml", "bytes": 1234}, ...]}
//   then the files' bytes, one after another
// task.yaml stands first, then the items and, where there are any, the few-shot items. Equal suites give equal bytes. A bundle is
// hostile until checked.  Tests: tests/suites/bundle_test.cc.  Fuzz: tests/fuzz/fuzz_suite_bundle.cc
#pragma once

#include "contract/error.h"

#include <filesystem>
#include <string_view>

namespace quantfleet {

// Does a suite of this name come with the program, items and all? Every agent has those.
bool is_built_in_suite(std::string_view name);

// Is there a suite in this folder, with its items (imported, or brought by whoever made it)?
bool has_items(const std::filesystem::path& suite_folder);

Status write_suite_bundle(const std::filesystem::path& suite_folder, const std::filesystem::path& bundle);

// Makes ROOT/SUITE; nothing where it is there already. kBadMagic, kBadValue, kBadShape (sizes that are not the file's), kTooLarge, kIo.
Status unpack_suite_bundle(const std::filesystem::path& bundle, const std::filesystem::path& root);

}  // namespace quantfleet
