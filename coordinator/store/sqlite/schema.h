// The migrations, in order, and the version this program reads.
#pragma once

#include "coordinator/store/sqlite/connection.h"

namespace quantfleet::coordinator::sqlite {

inline constexpr int kApplicationId = 0x71666c74;  // "qflt": says whose database it is
inline constexpr int kSchemaVersion = 5;

Status migrate(Connection& connection);               // creates or upgrades
Result<int> schema_version(Connection& connection);  // 1 to kSchemaVersion, else an error

}  // namespace quantfleet::coordinator::sqlite
