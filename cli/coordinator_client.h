// A coordinator's HTTP API for the commands that use it: plain http, blocking, one connection per request.
#pragma once

#include "contract/error.h"

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include <filesystem>
#include <functional>
#include <string>

namespace quantfleet::cli {

struct CoordinatorAddress {
  std::string url;               // "http://127.0.0.1:7411"; empty: from the state folder, else that
  std::filesystem::path state = "quantfleet-coordinator";
};
// --coordinator and --state.
void add_coordinator_options(CLI::App& app, CoordinatorAddress& address);

class CoordinatorClient {
 public:
  static Result<CoordinatorClient> at(const CoordinatorAddress& address);

  Status get(const std::string& path, nlohmann::json& answer) const;
  Status post(const std::string& path, const std::string& content_type, const std::string& body, nlohmann::json& answer) const;
  Result<bool> has_artifact(const std::string& sha256) const;
  Status put_artifact(const std::filesystem::path& file, const std::string& sha256,
                      const std::function<void(std::uint64_t done, std::uint64_t total)>& progress) const;
  const std::string& url() const { return url_; }

 private:
  struct Answer { int status = 0; std::string body; };
  Status exchange(const std::string& head, const std::string& body, const std::filesystem::path& file,
                  const std::function<void(std::uint64_t, std::uint64_t)>& progress, Answer& answer) const;
  Status parsed(const Answer& answer, nlohmann::json& json) const;
  std::string head_of(const std::string& method, const std::string& path, std::uint64_t length, const std::string& type) const;

  std::string url_, host_, port_, token_;
};

}  // namespace quantfleet::cli
