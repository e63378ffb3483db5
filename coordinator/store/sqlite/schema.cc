#include "coordinator/store/sqlite/schema.h"

#include "coordinator/store/store.h"

#include <fmt/format.h>

namespace quantfleet::coordinator::sqlite {
namespace {

constexpr const char* kMigrations[] = {
#include "0001_jobs.inc"
    ,
#include "0002_kv.inc"
    ,
#include "0003_evidence.inc"
    ,
#include "0004_adapters.inc"
    ,
#include "0005_aggregation.inc"
};
static_assert(std::size(kMigrations) == kSchemaVersion);

int pragma(Connection& connection, const char* sql) {
  Query query = connection.query(sql);
  return query.next() ? static_cast<int>(query.integer(0)) : 0;
}

}  // namespace

Result<int> schema_version(Connection& connection) {
  const int id = pragma(connection, "PRAGMA application_id");
  const int version = pragma(connection, "PRAGMA user_version");
  if (id != kApplicationId) return Error{Code::kBadMagic, "is not a quantfleet results database"};
  if (version < 1 || version > kSchemaVersion)
    return Error{Code::kBadVersion, fmt::format("has schema version {}, this program knows 1 to {}: a newer quantfleet reads it", version, kSchemaVersion)};
  return version;
}

Status migrate(Connection& connection) {
  const int tables = pragma(connection, "SELECT count(*) FROM sqlite_master");
  const int id = pragma(connection, "PRAGMA application_id");
  const int version = pragma(connection, "PRAGMA user_version");
  if (tables > 0 && id != kApplicationId) return Error{Code::kBadMagic, "is a database of another program"};
  if (version > kSchemaVersion)
    return Error{Code::kBadVersion, fmt::format("has schema version {}, this program knows up to {}", version, kSchemaVersion)};
  for (int i = version; i < kSchemaVersion; ++i) {
    const std::string sql = fmt::format("BEGIN IMMEDIATE; {} PRAGMA application_id={}; PRAGMA user_version={}; COMMIT;",
                                        kMigrations[i], kApplicationId, i + 1);
    connection.execute(sql.c_str());
  }
  return {};
}

}  // namespace quantfleet::coordinator::sqlite
