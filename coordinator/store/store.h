// Where the coordinator keeps what it must not lose. Commands are the core's StoreWrites: all of a decision in one
// transaction, durable when apply() returns; only then may the decision's messages be sent.
#pragma once

#include "coordinator/coordinator.h"

#include <filesystem>
#include <memory>
#include <stdexcept>
#include <vector>

namespace quantfleet::coordinator {

// The environment broke (disk full, database gone), or a write broke an invariant of the schema, which is our bug.
// Nothing of the transaction was stored. Caught in main loops: one sentence and exit code 4.
class StoreFailure : public std::runtime_error {
 public:
  explicit StoreFailure(Error e) : std::runtime_error(e.detail), error(std::move(e)) {}
  const Error error;
};

class Store {
 public:
  virtual ~Store() = default;
  virtual void apply(const std::vector<StoreWrite>& writes) = 0;  // throws StoreFailure
  virtual Snapshot load() = 0;                                    // throws StoreFailure
};

// Creates the file or brings its schema up to date; WAL mode. ":memory:" for tests. `durable`: every commit reaches the
// disk before apply() returns. Errors: kPermission, kDiskFull, kBadMagic (not a database), kBadVersion (a newer program's).
Result<std::unique_ptr<Store>> open_sqlite_store(const std::filesystem::path& database, bool durable = true);

}  // namespace quantfleet::coordinator
