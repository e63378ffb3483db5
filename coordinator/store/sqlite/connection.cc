#include "coordinator/store/sqlite/connection.h"

#include "coordinator/store/store.h"

#include <fmt/format.h>

#include <filesystem>

namespace quantfleet::coordinator::sqlite {

bool Query::next() {
  const int code = sqlite3_step(statement_);
  if (code == SQLITE_ROW) return true;
  if (code == SQLITE_DONE) return false;
  connection_.fail();
}

int Query::run() {
  while (next()) {
  }
  return sqlite3_changes(sqlite3_db_handle(statement_));
}

std::string Query::text(int column) const {
  const void* bytes = sqlite3_column_blob(statement_, column);
  const int size = sqlite3_column_bytes(statement_, column);
  return bytes ? std::string(static_cast<const char*>(bytes), static_cast<std::size_t>(size)) : std::string();
}

Error Connection::error() const {
  const int code = database_ ? sqlite3_errcode(database_) & 0xff : SQLITE_NOMEM;
  const std::string words = database_ ? sqlite3_errmsg(database_) : "out of memory";
  switch (code) {
    case SQLITE_FULL:
      return {Code::kDiskFull, fmt::format("{}: no space left for the results database; nothing that was acknowledged is lost", file_)};
    case SQLITE_NOTADB: return {Code::kBadMagic, fmt::format("{}: is not a SQLite database", file_)};
    case SQLITE_CANTOPEN:
    case SQLITE_PERM:
    case SQLITE_READONLY:
    case SQLITE_AUTH: return {Code::kPermission, fmt::format("{}: cannot be opened for writing: {}", file_, words)};
    default: return {Code::kIo, fmt::format("{}: {}", file_, words)};
  }
}

void Connection::fail() const { throw StoreFailure(error()); }

Result<std::unique_ptr<Connection>> Connection::open(const std::string& file, bool read_only) {
  if (std::error_code none; std::filesystem::is_directory(file, none))
    return Error{Code::kBadValue, fmt::format("{}: is a folder; a results database is a file", file)};
  std::unique_ptr<Connection> connection(new Connection(file));
  const int flags = (read_only ? SQLITE_OPEN_READONLY : SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE) | SQLITE_OPEN_FULLMUTEX;
  if (sqlite3_open_v2(file.c_str(), &connection->database_, flags, nullptr) != SQLITE_OK) return connection->error();
  sqlite3_busy_timeout(connection->database_, 10'000);
  return connection;
}

Result<std::unique_ptr<Connection>> Connection::copy() const {
  auto copied = open("", false);
  if (!copied) return copied.error();
  (*copied)->file_ = file_;
  sqlite3_backup* backup = sqlite3_backup_init((*copied)->database_, "main", database_, "main");
  if (!backup) return (*copied)->error();
  sqlite3_backup_step(backup, -1);
  if (sqlite3_backup_finish(backup) != SQLITE_OK) return (*copied)->error();
  return copied;
}

Connection::~Connection() {
  for (const auto& [sql, statement] : statements_) sqlite3_finalize(statement);
  sqlite3_close_v2(database_);
}

void Connection::execute(const char* sql) {
  if (sqlite3_exec(database_, sql, nullptr, nullptr, nullptr) != SQLITE_OK) fail();
}

Query Connection::query(const char* sql) {
  sqlite3_stmt*& statement = statements_[sql];
  if (!statement && sqlite3_prepare_v3(database_, sql, -1, SQLITE_PREPARE_PERSISTENT, &statement, nullptr) != SQLITE_OK) fail();
  return Query(*this, statement);
}

}  // namespace quantfleet::coordinator::sqlite
