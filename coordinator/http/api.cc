#include "coordinator/http/api.h"

#include "contract/version.h"
#include "coordinator/http/json_views.h"
#include "coordinator/http/metrics.h"
#include "coordinator/store/live_numbers.h"
#include "coordinator/store/results_reader.h"

#include <fmt/format.h>
#include <openssl/crypto.h>

namespace quantfleet::coordinator {
namespace {

HttpResponse json_response(const Json& json, int status = 200) { return {status, "application/json", fields_io::dump(json) + "\n", {}}; }

double now_seconds() {
  return seconds_of(std::chrono::time_point_cast<std::chrono::milliseconds>(std::chrono::system_clock::now()));
}

constexpr std::string_view kRuns = "/api/runs/";
constexpr std::string_view kArtifacts = "/api/artifacts/";

}  // namespace

HttpResponse error_response(const Error& error) {
  int status = 500;
  if (exit_code(error.code) == 2) status = 400;
  if (error.code == Code::kNotFound || error.code == Code::kUnknownName) status = 404;
  if (error.code == Code::kUnreachable) status = 503;
  if (error.code == Code::kNotAdmitted) status = 401;
  if (error.code == Code::kDiskFull) status = 507;
  if (error.code == Code::kTooLarge) status = 413;
  return json_response({{"error", {{"code", name_of(error.code)}, {"detail", error.detail}}}}, status);
}

bool Api::has_token(const HttpRequest& request) const {
  const std::string expected = "Bearer " + token_;
  return request.authorization.size() == expected.size() &&
         CRYPTO_memcmp(request.authorization.data(), expected.data(), expected.size()) == 0;
}

HttpResponse Api::handle(const HttpRequest& request) {
  if (request.method == "GET" || request.method == "HEAD") return get(request.path);
  if (request.method != "POST" && request.method != "PUT")
    return error_response(Error{Code::kUsage, fmt::format("{} is not served here", request.method)});
  if (!has_token(request))
    return error_response(Error{Code::kNotAdmitted, "this needs the token of the coordinator's state folder (Authorization: Bearer ...)"});
  const std::string_view path = request.path;
  if (request.method == "POST" && path == "/api/runs") return submit(request);
  if (request.method == "POST" && path.starts_with(kRuns) && path.ends_with("/cancel") && path.size() > kRuns.size() + 7)
    return cancel(std::string(path.substr(kRuns.size(), path.size() - kRuns.size() - 7)));
  return error_response(Error{Code::kNotFound, fmt::format("{} {}: no such address", request.method, request.path)});
}

HttpResponse Api::get(const std::string& path) {
  if (path == "/") return {200, "text/html; charset=utf-8", std::string(page()), {}};
  if (path == "/healthz") return json_response({{"status", "ok"}, {"version", program_version()}});
  if (path == "/metrics") return metrics();
  if (path == "/api/devices") return devices();
  if (path.starts_with(kArtifacts)) {
    const std::string hash = path.substr(kArtifacts.size());
    if (!artifacts_.contains(hash)) return error_response(Error{Code::kNotFound, fmt::format("no artifact {}", hash.substr(0, 64))});
    return {200, "application/octet-stream", "", artifacts_.path_of(hash)};
  }
  const bool one = path.starts_with(kRuns) && path.size() > kRuns.size();
  if (path != "/api/runs" && !one) return error_response(Error{Code::kNotFound, fmt::format("{}: no such address", path.substr(0, 200))});
  const Result<std::unique_ptr<ResultsReader>> reader = open_results(database_);
  if (!reader) return error_response(reader.error());
  if (!one) {
    const auto runs = (*reader)->runs();
    if (!runs) return error_response(runs.error());
    Json list = Json::array();
    for (const RunSummary& run : *runs) list.push_back(json_of(run));
    return json_response({{"runs", std::move(list)}});
  }
  std::string name = path.substr(kRuns.size());
  const bool rows = name.ends_with("/results");
  if (rows) name.resize(name.size() - 8);
  const Result<RunSummary> run = (*reader)->find_run(name);
  if (!run) return error_response(run.error());
  const Result<RunResults> results = rows ? (*reader)->read_run(run->id) : (*reader)->read_progress(run->id);
  if (!results) return error_response(results.error());
  return json_response(rows ? results_json(*results) : progress_json(*results, now_seconds()));
}

HttpResponse Api::devices() {
  Json list = Json::array();
  with_core_([&](Coordinator& core, Time now, Decision&) {
    for (const AgentStatus& agent : core.agents(now)) list.push_back(json_of(agent));
  });
  return json_response({{"devices", std::move(list)}});
}

HttpResponse Api::metrics() {
  CoreNumbers numbers;
  with_core_([&](Coordinator& core, Time now, Decision&) { numbers = core_numbers(core, now); });
  const Result<LiveNumbers> live = read_live_numbers(database_);
  if (!live) return error_response(live.error());
  return {200, "text/plain; version=0.0.4; charset=utf-8", metrics_text(numbers, *live), {}};
}

HttpResponse Api::submit(const HttpRequest& request) {
  const bool is_json = request.content_type.starts_with("application/json");
  Result<JobSpec> spec = is_json ? job_spec_from_json(request.body, "plan") : job_spec_from_yaml(request.body, "plan");
  if (!spec) return error_response(spec.error());
  for (const ModelSpec& model : spec->models) {
    if (model.sha256.empty())
      return error_response(Error{Code::kBadValue, fmt::format("models: \"{}\" has no sha256; `quantfleet submit` fills it in", model.name)});
    if (!artifacts_.contains(model.sha256))
      return error_response(Error{Code::kBadValue, fmt::format("models: \"{}\": the artifact {} is not here yet; PUT {}{} first",
                                                               model.name, model.sha256, kArtifacts, model.sha256)});
  }
  for (const SuiteSpec& suite : spec->suites)
    if (!suite.bundle_sha256.empty() && !artifacts_.contains(suite.bundle_sha256))
      return error_response(Error{Code::kBadValue, fmt::format("suites: \"{}\": the artifact {} is not here yet; PUT {}{} first", suite.name,
                                                               suite.bundle_sha256, kArtifacts, suite.bundle_sha256)});
  Json same = Json::array();
  if (const auto reader = open_results(database_))
    if (const auto runs = (*reader)->runs())
      for (const RunSummary& run : *runs)
        if (run.plan_sha256 == plan_sha256(*spec)) same.push_back(run.id.value);
  Result<JobId> id = Error{Code::kUnreachable, "the coordinator is stopping"};
  with_core_([&](Coordinator& core, Time now, Decision& decision) { id = core.submit(*spec, now, decision); });
  if (!id) return error_response(id.error());
  return json_response({{"run", id->value}, {"same_plan_as", std::move(same)}}, 201);
}

HttpResponse Api::cancel(const std::string& name) {
  const Result<std::unique_ptr<ResultsReader>> reader = open_results(database_);
  if (!reader) return error_response(reader.error());
  const Result<RunSummary> run = (*reader)->find_run(name);
  if (!run) return error_response(run.error());
  if (run->status != "running" && run->status != "waiting") return json_response({{"run", run->id.value}, {"status", run->status}});
  Status done;
  with_core_([&](Coordinator& core, Time now, Decision& decision) { done = core.cancel(run->id, now, decision); });
  if (!done) return error_response(done.error());
  return json_response({{"run", run->id.value}, {"status", "cancelled"}});
}

HttpResponse Api::may_upload(const HttpRequest& request, std::string& sha256) {
  if (!has_token(request))
    return error_response(Error{Code::kNotAdmitted, "this needs the token of the coordinator's state folder (Authorization: Bearer ...)"});
  if (!request.path.starts_with(kArtifacts))
    return error_response(Error{Code::kNotFound, fmt::format("PUT {}: no such address", request.path.substr(0, 200))});
  sha256 = request.path.substr(kArtifacts.size());
  if (!fields_io::is_sha256(sha256))
    return error_response(Error{Code::kBadValue, "expected a SHA-256 in 64 lower-case hex digits after /api/artifacts/"});
  return {};
}

HttpResponse Api::upload(const std::string& writer, const std::string& sha256, std::uint64_t offset, std::uint64_t size_bytes,
                         std::string_view bytes) {
  const Result<bool> whole = artifacts_.write(writer, sha256, offset, size_bytes, bytes);
  if (!whole) return error_response(whole.error());
  return json_response({{"sha256", sha256}, {"complete", *whole}}, *whole ? 201 : 200);
}

}  // namespace quantfleet::coordinator
