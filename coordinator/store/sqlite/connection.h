// A thin layer over SQLite's C interface: a connection, prepared statements that bind and read by position, errors as
// StoreFailure. Private to store/sqlite.
#pragma once

#include "contract/error.h"

#include <sqlite3.h>

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace quantfleet::coordinator::sqlite {

class Connection;

// Positions start at 0. Reset and unbound when it goes out of scope.
class Query {
 public:
  Query(Connection& connection, sqlite3_stmt* statement) : connection_(connection), statement_(statement) {}
  ~Query() {
    sqlite3_reset(statement_);
    sqlite3_clear_bindings(statement_);
  }
  Query(const Query&) = delete;
  Query& operator=(const Query&) = delete;

  template <class... T>
  Query& bind(const T&... values) {
    (bind_one(values), ...);
    return *this;
  }
  bool next();   // true: a row is there
  int run();     // to the end; rows changed

  std::int64_t integer(int column) const { return sqlite3_column_int64(statement_, column); }
  double number(int column) const { return sqlite3_column_double(statement_, column); }
  std::string text(int column) const;
  bool is_null(int column) const { return sqlite3_column_type(statement_, column) == SQLITE_NULL; }

 private:
  void bind_one(std::int64_t value) { sqlite3_bind_int64(statement_, ++bound_, value); }
  void bind_one(int value) { sqlite3_bind_int64(statement_, ++bound_, value); }
  void bind_one(std::uint64_t value) { sqlite3_bind_int64(statement_, ++bound_, static_cast<std::int64_t>(value)); }
  void bind_one(double value) { sqlite3_bind_double(statement_, ++bound_, value); }
  void bind_one(std::string_view value) {
    sqlite3_bind_text64(statement_, ++bound_, value.data() ? value.data() : "", value.size(), SQLITE_TRANSIENT, SQLITE_UTF8);
  }
  void bind_one(const std::string& value) { bind_one(std::string_view(value)); }
  void bind_one(const char* value) { bind_one(std::string_view(value)); }
  struct Blob { std::string_view bytes; };
  template <class T>
  void bind_one(const std::optional<T>& value) {
    if (value) bind_one(*value);
    else sqlite3_bind_null(statement_, ++bound_);
  }

 public:
  Query& bind_blob(std::string_view bytes) {
    sqlite3_bind_blob64(statement_, ++bound_, bytes.data() ? bytes.data() : "", bytes.size(), SQLITE_TRANSIENT);
    return *this;
  }

 private:
  Connection& connection_;
  sqlite3_stmt* statement_;
  int bound_ = 0;
};

class Connection {
 public:
  static Result<std::unique_ptr<Connection>> open(const std::string& file, bool read_only);
  // A private copy in a temporary file of SQLite's, gone with the connection; errors still name this file.
  Result<std::unique_ptr<Connection>> copy() const;
  ~Connection();
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  void execute(const char* sql);         // one or several statements without parameters
  Query query(const char* sql);          // prepared once per text, which must be a literal
  [[noreturn]] void fail() const;
  Error error() const;

 private:
  explicit Connection(std::string file) : file_(std::move(file)) {}
  std::string file_;
  sqlite3* database_ = nullptr;
  std::map<const char*, sqlite3_stmt*> statements_;
};

}  // namespace quantfleet::coordinator::sqlite
